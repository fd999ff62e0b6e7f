"""The space of a volume: `python3 -m ganeti_gluster.core.room`.

It is a separate process, see `apart`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from ganeti_gluster.core.apart import ask
from ganeti_gluster.core.copy.program import add_spec_arguments, spec_of
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import command, decode
from ganeti_gluster.tools.decode import Count
from ganeti_gluster.tools.gfapi.stat import Space
from ganeti_gluster.tools.processes import leave

MODULE = "ganeti_gluster.core.room"
#: Seconds for the answer, which takes some 50 ms.
SECONDS = 15.0


def of_volume(spec: VolumeSpec, *, run: command.Run = command.run) -> Space:
    """The space of a volume as its clients have it.

    Raises `GanetiGlusterError` if that cannot be found out.
    """
    found = ask(MODULE, spec, seconds=SECONDS, run=run)
    return Space(*decode.value(tuple[Count, Count], found, "space"))


def main(arguments: Sequence[str]) -> int:
    """Print the total and the free bytes as JSON; returns the exit status."""
    parser = argparse.ArgumentParser(prog=MODULE)
    add_spec_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        with connect(spec_of(options)) as volume:
            space = volume.space()
    except (GanetiGlusterError, OSError) as err:
        print(in_words(err), file=sys.stderr)
        return 1
    print(json.dumps([space.total, space.free]), flush=True)
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
