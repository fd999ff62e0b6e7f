"""An image that is in use on this node: its server, and its block device where it has one.

One set of operations for the template and for the ExtStorage provider.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganeti_gluster.core.serve import control, opening
from ganeti_gluster.core.serve.server import ImageServer, qemu_uri
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError

if TYPE_CHECKING:
    from ganeti_gluster.core.export import Export


@dataclass(frozen=True)
class ImageInUse:
    """One image as this node uses it; constructing it does nothing."""

    spec: VolumeSpec
    path: str
    patience: int

    @property
    def server(self) -> ImageServer:
        """The image's server."""
        return ImageServer(self.spec, self.path)

    @property
    def export(self) -> Export:
        """The image's block device."""
        from ganeti_gluster.core.export import Export

        return Export(self.spec, self.path)

    @property
    def uri(self) -> str:
        """Where QEMU reaches the image once it is served."""
        return qemu_uri(self.server.socket_path, self.patience)

    def status(self) -> control.ServerStatus | None:
        """What the server says, if there is one that has the image."""
        status = self.server.status()
        return None if status is None or status.state == control.LOST else status

    def size(self) -> int | None:
        """The image's size in bytes; None if no server knows it."""
        status = self.status()
        return (status.size or None) if status is not None else None

    def has_user(self) -> bool:
        """Whether anything has the image open here, by its server or by its device."""
        device = self.export.device()
        if device is None:
            status = self.status()
            return status is not None and bool(status.peers)
        from ganeti_gluster.core.export import ExportFailed, users

        if users.of(device):
            return True
        try:
            self.export.flush()
        except ExportFailed:  # the kernel itself has it
            return True
        return False

    def show_device(self) -> str:
        """Give the image, which is served, a block device of its size; returns its path."""
        return self.export.start(self.size())

    def flush(self) -> None:
        """Have all that was written to the image here stored by the volume."""
        self.export.flush()
        self.server.flush()

    def grow(self, size: int) -> bool:
        """Grow the image to `size` bytes if it is in use here, and its device; otherwise False.

        Clients of the server reconnect.
        """
        if self.status() is None or not self.server.grow(size):
            return False
        self.export.grow(size)
        return True

    def end(self) -> None:
        """Take the device away and give the image back; idempotent, needs no volume.

        Raises where one of them is still in use, and leaves it.
        """
        self.export.stop()
        self.server.close()

    @contextlib.contextmanager
    def with_device(self, number: int, *, locking: bool) -> Iterator[str]:
        """The path of a block device for as long as the block lasts.

        What was in use before stays so.
        """
        with contextlib.ExitStack() as stack:
            if self.status() is None:
                opening.open_image(
                    self.server, number=number, locking=locking, patience=self.patience
                )
                stack.enter_context(_undone(self.server.close))
            device = self.export.device()
            if device is None:
                device = self.show_device()
                stack.enter_context(_undone(self.export.stop))
            yield device


def grow(
    image: ImageInUse,
    size: int,
    *,
    preallocated: bool,
    on_volume: Callable[[], None],
    tell: Callable[[int], None],
    dry_run: bool = False,
) -> None:
    """Grow an image to `size` bytes, by its server where it is open here, else `on_volume`.

    `tell` has QEMU show the size to its guest.  Ganeti also opens the disks of a stopped
    instance; blocks are preallocated for those, but not for a running guest.
    """
    now = image.size()
    if now is None or (preallocated and not image.has_user()):
        on_volume()
    # The device may not show a size that the image has already.
    if now is not None and now <= size and not dry_run:
        image.grow(size)
        tell(size)


@contextlib.contextmanager
def _undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` after the block; where that has failed its error counts, and not undo's."""
    try:
        yield
    except BaseException:
        try:
            undo()
        except (GanetiGlusterError, OSError) as err:
            logging.error("An image remains in use: %s", err)
        raise
    undo()
