"""The program that makes the disks of a backup or a snapshot block devices, as long as it runs.

Each disk is a FUSE file in the program's own mount namespace, with a loop device on it, as the
exporter of an image makes one (`core.export`).  Nothing can be written to it.  Meanwhile the
repository is locked against `prune`, or the snapshot against its removal.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence

from ganeti_gluster.core import this_node
from ganeti_gluster.core.backup import places
from ganeti_gluster.core.backup.lock import locked
from ganeti_gluster.core.backup.pack import Reader
from ganeti_gluster.core.backup.repository import Repository
from ganeti_gluster.core.backup.source import BackupSource
from ganeti_gluster.core.copy import Source
from ganeti_gluster.core.copy.images import ImageSource
from ganeti_gluster.core.export import loop
from ganeti_gluster.core.export.exporter import attach, release
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools.processes import leave
from ganeti_gluster.tools.systemd import notify


class ReadOnly:
    """A source of copies as the image of a FUSE file."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def size(self) -> int:
        return int(self._source.size)

    def pread(self, size: int, offset: int) -> memoryview:
        buffer = memoryview(bytearray(size))
        return buffer[: self._source.pread_into(buffer, offset)]

    def flush(self) -> None:
        """Nothing was written."""

    def pwrite(self, data: memoryview, offset: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def discard(self, offset: int, length: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def zero(self, offset: int, length: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@contextlib.contextmanager
def _of_backup(options: argparse.Namespace) -> Iterator[dict[int, Source]]:
    with places.store(options.repository) as store:
        repository = Repository(store)
        repository.check()
        what = "a mount of backup %s of %s" % (options.backup, options.instance)
        with locked(store, what):
            backup = repository.read(options.instance, options.backup)
            reader = Reader(store)
            yield {disk.index: BackupSource(reader, backup, disk) for disk in backup.disks}


@contextlib.contextmanager
def _of_snapshot(options: argparse.Namespace) -> Iterator[dict[int, Source]]:
    spec = VolumeSpec.from_params({"host": options.servers, "volume": options.volume})
    with connect(spec) as volume, contextlib.ExitStack() as stack:
        found: dict[int, Source] = {}
        for word in options.image:
            number, _, path = word.partition("=")
            stack.enter_context(hold.locked(volume, path, node=this_node.name(), shared=True))
            found[int(number)] = stack.enter_context(ImageSource(volume, path))
        yield found


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; the exit status."""
    options = _parse(argv)
    # In every thread, so that this one alone takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        with (_of_backup if options.repository else _of_snapshot)(options) as sources:
            devices = []
            for number, source in sorted(sources.items()):
                path = os.path.join(options.directory, "disk-%d" % number)
                command = loop.attach_argv(path, read_only=True)
                devices.append((*attach(ReadOnly(source), path, command), path))
            notify("READY=1\nSTATUS=%s" % " ".join(device for device, *_ in devices))
            signal.sigwait((signal.SIGTERM, signal.SIGINT))
            notify("STOPPING=1")
            for each in devices:
                release(*each)
    except (GanetiGlusterError, OSError) as err:
        print(in_words(err), file=sys.stderr)
        return 1
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, which only `mounts` writes."""
    parser = argparse.ArgumentParser(prog="ganeti_gluster.core.backup.mounter")
    for name in ("directory", "repository", "instance", "backup", "servers", "volume"):
        parser.add_argument("--%s" % name, default="")
    parser.add_argument("--image", action="append", default=[])
    return parser.parse_args(argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
