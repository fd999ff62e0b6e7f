"""switched.py NAME RUNS: a command with the plugin, and without it, in turn.

python-start       `python3 -c pass` with and without our .pth file
ganeti-import      `import ganeti.backend` with and without our .pth file
gnt-instance-list  `gnt-instance list` with the plugin and with it switched off
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from sides import OURS, answer, command_seconds, in_turn

PYTHON = "/usr/bin/python3"
PTH = "/usr/lib/python3/dist-packages/ganeti-gluster.pth"
PTH_ASIDE = PTH + ".aside"
DISABLED_FILE = "/etc/ganeti/gluster-plugin-disabled"
IMPORT = "import sys; sys.path.insert(0, '/usr/share/ganeti/default'); import ganeti.backend"


def with_file(present: bool) -> None:
    """Have our .pth file in its place, or aside."""
    source, target = (PTH_ASIDE, PTH) if present else (PTH, PTH_ASIDE)
    with contextlib.suppress(FileNotFoundError):  # it is so already
        os.rename(source, target)


def switched_on(present: bool) -> None:
    """Switch the plugin of this node on or off, as `gnt-gluster plugin` does."""
    if present:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(DISABLED_FILE)
    else:
        with open(DISABLED_FILE, "w", encoding="ascii"):
            pass


Switch = Callable[[bool], None]
COMMANDS: dict[str, tuple[list[str], Switch]] = {
    "python-start": ([PYTHON, "-c", "pass"], with_file),
    "ganeti-import": ([PYTHON, "-c", IMPORT], with_file),
    "gnt-instance-list": (["gnt-instance", "list"], switched_on),
}


def main() -> None:
    name, runs = sys.argv[1:]
    argv, switch = COMMANDS[name]

    def measure(side: str) -> float:
        switch(side == OURS)
        return command_seconds(argv)

    try:
        in_turn(measure, 1)  # fills the file caches, and is not counted
        samples = in_turn(measure, int(runs))
    finally:
        switch(True)
    answer({name: samples})


if __name__ == "__main__":
    main()
