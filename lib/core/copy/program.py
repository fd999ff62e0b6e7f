"""A program that streams an image: `python3 -m ganeti_gluster.core.copy.program`.

    … export --volume gv0 --host node1,node2 --node node1 PATH    > anywhere
    … import --volume gv0 --host node1,node2 --node node1 PATH    < anywhere

It has the image's lock, for work on the node that is named, which is this one.

Ganeti's `BlockDev.Export` and `Import` return this command.  It writes the image to its standard
output, or writes its standard input over an existing image.  It prints its progress on standard
error, for Ganeti's log.  The exit status is 0 when all is copied and synced, else 1, with the
reason on standard error; a shell that uses it in a pipe must check the exit status of both ends
(`pipefail`).  It ends when the process that started it has ended.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ganeti_gluster.core import whole  # noqa: F401  # for its modules
from ganeti_gluster.core.at_rest import alone, at_rest
from ganeti_gluster.core.copy import Options, Progress, copy
from ganeti_gluster.core.copy.images import ExistingImage, ImageSource
from ganeti_gluster.core.copy.progress import EachLine
from ganeti_gluster.core.copy.signals import raised
from ganeti_gluster.core.copy.streams import StreamSource, StreamTarget
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import CopyFailed, GanetiGlusterError, in_words
from ganeti_gluster.tools.processes import leave

PYTHON = "/usr/bin/python3"
MODULE = "ganeti_gluster.core.copy.program"

EXPORT = "export"
IMPORT = "import"


def argv(what: str, spec: VolumeSpec, path: str, *, node: str) -> list[str]:
    """The command that exports or imports an image on `node`."""
    # -P: nothing is imported from the directory in which a shell starts it.
    return [PYTHON, "-P", "-m", MODULE, what, *spec_arguments(spec), "--node", node, path]


def spec_arguments(spec: VolumeSpec) -> list[str]:
    """A volume on a command line; `add_spec_arguments` is the other side."""
    return ["--volume", spec.name, "--host", spec.text_of_servers()]


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name a volume."""
    parser.add_argument("--volume", required=True)
    parser.add_argument("--host", required=True)


def spec_of(options: argparse.Namespace) -> VolumeSpec:
    """The volume that the options name; raises `InvalidParameter`."""
    return VolumeSpec.from_params(vars(options))


def main(arguments: Sequence[str]) -> int:
    """Copy, and say in one line what went wrong; returns the exit status."""
    parser = argparse.ArgumentParser(prog=MODULE)
    parser.add_argument("what", choices=(EXPORT, IMPORT))
    add_spec_arguments(parser)
    parser.add_argument("--node", required=True)
    parser.add_argument("path")
    options = parser.parse_args(arguments)
    try:
        with raised():
            _run(options.what, spec_of(options), options.path, options.node)
    except (GanetiGlusterError, OSError) as err:
        _say("Failure: %s" % in_words(err))
        return 1
    return 0


def _run(what: str, spec: VolumeSpec, path: str, node: str) -> None:
    log, parent = EachLine(_say), os.getppid()

    def progress(now: Progress) -> None:
        log(now)
        if os.getppid() != parent:
            raise CopyFailed("the process that started this copy has ended")

    lock = at_rest if what == EXPORT else alone
    with connect(spec) as volume, lock(volume, spec, path, node=node) as kept:
        options = Options(progress=progress, confirm=kept.check)
        if what == EXPORT:
            with ImageSource(volume, path) as source:
                result = copy(source, StreamTarget(sys.stdout.fileno(), "the pipe"), options)
        else:
            stream = StreamSource(sys.stdin.fileno(), "the pipe")
            result = copy(stream, ExistingImage(volume, path), options)
    _say(
        "%sed image %s of volume %s: %d MiB in %.1f s"
        % (what, path, spec.name, result.size >> 20, result.seconds)
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
