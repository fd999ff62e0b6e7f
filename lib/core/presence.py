"""Which of some images are on a volume, and as what: `python3 -m ganeti_gluster.core.presence`.

It is a separate process, see `apart`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Collection, Sequence

from ganeti_gluster.core import image
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
    return set(stamps(spec, paths, run=run))


def stamps(
    spec: VolumeSpec, paths: Collection[str], *, run: command.Run = command.run
) -> dict[str, str]:
    """As `present`, with the stamp of each (`image.stamp`)."""
    found = ask(MODULE, spec, sorted(paths), seconds=SECONDS, run=run)
    answer = decode.value(dict[str, str], found, "stamps")
    return {path: answer[path] for path in paths if path in answer}


def main(arguments: Sequence[str]) -> int:
    """Print the stamps of the images that are there as JSON; returns the exit status."""
    parser = argparse.ArgumentParser(prog=MODULE)
    add_spec_arguments(parser)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args(arguments)
    there: dict[str, str] = {}
    try:
        with connect(spec_of(options)) as volume:
            for path in options.paths:
                with contextlib.suppress(FileNotFoundError):
                    there[path] = image.stamp(volume, path)
    except VolumeNotFound:
        pass
    except (GanetiGlusterError, OSError) as err:
        print(err, file=sys.stderr)
        return 1
    print(json.dumps(there), flush=True)
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
