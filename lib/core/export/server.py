"""Serve an image as the one regular file of a FUSE mount.

Several threads receive requests from the kernel and pass each on to the image, which releases
Python's global lock while it waits.  Written data is safe when the kernel has flushed, as with any
disk that has a cache: a flush of the device flushes the image, and returns its error.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading
from typing import Protocol

from ganeti_gluster.core.export import fuse

#: Requests that are worked on at a time: all that the kernel sends at a time, and
#: some more, so that questions about the file are answered while those wait.
THREADS = fuse.MAX_BACKGROUND + 4
DEVICE = "/dev/fuse"

Reply = tuple[bytes | memoryview, ...]


class Image(Protocol):
    """What is served; every failure is an `OSError`."""

    @property
    def size(self) -> int: ...
    def pread(self, size: int, offset: int) -> memoryview: ...
    def pwrite(self, data: memoryview, offset: int) -> None: ...
    def flush(self) -> None: ...
    def discard(self, offset: int, length: int) -> None: ...
    def zero(self, offset: int, length: int) -> None: ...


class FuseServer:
    """Answers the kernel's requests on one open `/dev/fuse` until it is unmounted."""

    def __init__(self, descriptor: int, image: Image) -> None:
        self._descriptor = descriptor
        self._image = image

    def serve(self, threads: int = THREADS) -> None:
        """Answer requests in `threads` threads; returns when the mount is gone."""
        workers = [
            threading.Thread(target=self._work, name="fuse-%d" % number, daemon=True)
            for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _work(self) -> None:
        buffer = mmap.mmap(-1, fuse.REQUEST_SIZE)  # no memory before a request needs it
        while self.step(buffer):
            pass

    def step(self, buffer: fuse.RequestBuffer) -> bool:
        """Take and answer one request; False when there will be no more."""
        try:
            os.readv(self._descriptor, [buffer])
        except OSError as err:
            if err.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):  # interrupted requests
                return True
            if err.errno in (errno.ENODEV, errno.EBADF):  # unmounted
                return False
            raise
        request = fuse.request(buffer)
        try:
            answer = self._answer(request, buffer)
        except OSError as err:
            answer = (fuse.failure(request.unique, err.errno or errno.EIO),)
        except Exception as err:  # a thread that ends would leave the kernel waiting
            print("request %d: %r" % (request.opcode, err), file=sys.stderr, flush=True)
            answer = (fuse.failure(request.unique, errno.EIO),)
        if answer:
            self._send(answer)
        return request.opcode != fuse.DESTROY

    def _send(self, answer: Reply) -> None:
        try:
            os.writev(self._descriptor, answer)
        except OSError as err:
            if err.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for it any more
                raise

    def _answer(self, request: fuse.FuseRequest, buffer: fuse.RequestBuffer) -> Reply:
        """The answer in its pieces; none where none is expected."""
        unique, image = request.unique, self._image
        match request.opcode:
            case fuse.READ:
                offset, size = fuse.range_of(buffer)
                data = image.pread(size, offset)
                return fuse.read_head(unique, len(data)), data
            case fuse.WRITE:
                offset, size = fuse.range_of(buffer)
                start = fuse.WRITE_DATA
                image.pwrite(memoryview(buffer)[start : start + size], offset)
                return (fuse.written(unique, size),)
            case fuse.FSYNC:
                image.flush()
            case fuse.FALLOCATE:
                self._allocate(*fuse.allocation(buffer))
            case fuse.GETATTR:
                return (fuse.attributes(unique, image.size),)
            case fuse.INIT:
                return (fuse.init(unique, buffer),)
            case fuse.OPEN:
                return (fuse.opened(unique),)
            case fuse.STATFS:
                return (fuse.statfs(unique),)
            case fuse.RELEASE | fuse.FLUSH | fuse.ACCESS | fuse.DESTROY:
                pass
            case fuse.LOOKUP:
                raise OSError(errno.ENOENT, "there is one file")
            case opcode if opcode in fuse.SILENT:
                return ()
            case _:
                raise OSError(errno.ENOSYS, "not needed")
        return (fuse.answer(unique),)

    def _allocate(self, mode: int, offset: int, length: int) -> None:
        keep = fuse.FALLOC_FL_KEEP_SIZE
        if mode == fuse.FALLOC_FL_PUNCH_HOLE | keep:
            self._image.discard(offset, length)
        elif mode in (fuse.FALLOC_FL_ZERO_RANGE, fuse.FALLOC_FL_ZERO_RANGE | keep):
            self._image.zero(offset, length)
        else:
            raise OSError(errno.EOPNOTSUPP, "mode %#x of fallocate" % mode)
