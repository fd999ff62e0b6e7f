"""Which of some images are on a volume: `python3 -m ganeti_gluster.core.presence`.

It is a separate process, see `apart`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence

from ganeti_gluster.core.apart import ask
from ganeti_gluster.core.copy.program import add_spec_arguments, spec_of
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, VolumeNotFound
from ganeti_gluster.tools import command, decode
from ganeti_gluster.tools.processes import leave

MODULE = "ganeti_gluster.core.presence"
#: Seconds for the answer; it takes some 50 ms, and 1 ms an image.
SECONDS = 30.0


def present(
    spec: VolumeSpec, paths: Collection[str], *, run: command.Run = command.run
) -> set[str]:
    """Which of the images with these paths exist; none if there is no such volume.

    Raises `GanetiGlusterError` if that cannot be found out.
    """
    found = ask(MODULE, spec, sorted(paths), seconds=SECONDS, run=run)
    return set(paths) & set(decode.value(tuple[str, ...], found, "paths"))


def main(arguments: Sequence[str]) -> int:
    """Print the paths that are there as JSON; returns the exit status."""
    parser = argparse.ArgumentParser(prog=MODULE)
    add_spec_arguments(parser)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args(arguments)
    there: list[str] = []
    try:
        with connect(spec_of(options)) as volume:
            there += [path for path in options.paths if volume.access(path)]
    except VolumeNotFound:
        pass
    except (GanetiGlusterError, OSError) as err:
        print(err, file=sys.stderr)
        return 1
    print(json.dumps(there), flush=True)
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
