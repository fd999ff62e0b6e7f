"""Run a command while an image has a path: `python3 -m ganeti_gluster.with_path`.

    … --volume gv0 --host node1 --node node1 --set EXPORT_DEVICE IMAGE -- COMMAND…

The variables named get the path, which ends with the command, and no instance gets the
image meanwhile, on this node neither.  Ganeti's import-export daemon runs OS scripts long
after the request that starts it, and perhaps after its job has died, so what gives them a
path and keeps the image has to live as long as they do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from ganeti_gluster.core import whole  # noqa: F401  # for its modules
from ganeti_gluster.core.at_rest import kept_from_others
from ganeti_gluster.core.copy.program import PYTHON, add_spec_arguments, spec_arguments, spec_of
from ganeti_gluster.core.copy.signals import Interrupted, raised
from ganeti_gluster.core.in_use import ImageInUse
from ganeti_gluster.core.serve.holder import node_number
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools.processes import leave

MODULE = "ganeti_gluster.with_path"
#: Seconds for a command to end when asked to.
_END_SECONDS = 20


def argv(
    spec: VolumeSpec,
    path: str,
    variables: Sequence[str],
    command: Sequence[str],
    *,
    node: str,
    locking: bool,
    patience: int,
) -> list[str]:
    """The command that runs `command` with the image's path in `variables`.

    `node` is the name of this node, which identifies its locks; requests wait `patience` seconds
    for storage that is unavailable.
    """
    lock = ["--node", node, *([] if locking else ["--no-lock"])]
    lock += ["--patience", str(patience)]
    setting = [word for name in variables for word in ("--set", name)]
    return [
        PYTHON,
        "-P",
        "-m",
        MODULE,
        *spec_arguments(spec),
        *lock,
        *setting,
        path,
        "--",
        *command,
    ]


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit status is the command's, or 1."""
    parser = argparse.ArgumentParser(prog=MODULE)
    add_spec_arguments(parser)
    parser.add_argument("--node", required=True)
    parser.add_argument("--no-lock", action="store_true")
    parser.add_argument("--patience", type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("path")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        with raised():
            in_use = ImageInUse(spec_of(options), options.path, options.patience)
            with _device(in_use, options.node, locking=not options.no_lock) as device:
                return _run(device, options.set, options.command)
    except (GanetiGlusterError, OSError) as err:
        print("Failure: %s" % in_words(err), file=sys.stderr, flush=True)
        return 1


@contextlib.contextmanager
def _device(in_use: ImageInUse, node: str, *, locking: bool) -> Iterator[str]:
    """The path of the image's device, which is kept from others where there are locks."""
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(in_use.with_device(node_number(node), locking=locking))
        if locking:
            volume = stack.enter_context(connect(in_use.spec))
            stack.enter_context(kept_from_others(volume, in_use, node=node))
        yield device


def _run(path: str, variables: Sequence[str], command: Sequence[str]) -> int:
    process = subprocess.Popen(command, env={**os.environ, **dict.fromkeys(variables, path)})
    try:
        return process.wait()
    except Interrupted:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
