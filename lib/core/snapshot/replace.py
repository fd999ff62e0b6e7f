"""Replacing several images by others, all of them or none.

At every moment there is a complete image at each path.  The old one first gets a second name, from
which it is restored if something fails, and which is removed in the end, because renaming over an
image would leave its shards on a sharded volume.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from ganeti_gluster import errors
from ganeti_gluster.core import image
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.hold import Hold, locked
from ganeti_gluster.core.serve.holder import OpenElsewhere, node_number
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume


class Replacement:
    """An image, of which `lock` is held, and the one that is to be there instead.

    `made`: the inode of the new one, once it is whole, at the path `restored`.
    """

    def __init__(self, volume: Volume, path: str, lock: Hold) -> None:
        self.volume = volume
        self.path = path
        self.lock = lock
        self.made: int | None = None
        self._is_aside = self._is_replaced = False

    @property
    def restored(self) -> str:
        """Where the new image is made."""
        return self.path + names.RESTORED

    @property
    def replaced(self) -> str:
        """The second name of the old one."""
        return self.path + names.REPLACED

    def clear(self, node: str) -> None:
        """Remove what a restoration left that was cut short; raises `OpenElsewhere`."""
        hold.remove(self.volume, self.restored, node=node)
        if self.lock.is_at(self.replaced):
            self.volume.unlink(self.replaced)
        else:
            hold.remove(self.volume, self.replaced, node=node)

    def prepare(self) -> None:
        """Give the old image its second name, and the new one the old one's attributes."""
        info = image.get_info(self.volume, self.path)
        if info:
            image.set_info(self.volume, self.restored, info)
        self.volume.link(self.path, self.replaced)
        self._is_aside = True

    def replace(self) -> None:
        """Put the new image in its place."""
        self.lock.check()
        self._is_replaced = True
        self.volume.rename(self.restored, self.path)

    def undo(self) -> None:
        """Put the old image back, and remove the new one.

        What another restoration has put there, while this node stood still, stays.
        """
        if self.lock.is_at(self.replaced):
            if self._is_replaced and not self.lock.is_at(self.path):
                with contextlib.suppress(FileExistsError):
                    self.volume.link(self.path, self.restored)
                self.volume.rename(self.replaced, self.path)
            elif self._is_aside:
                self.volume.unlink(self.replaced)
        with contextlib.suppress(FileNotFoundError):
            if self.volume.lstat(self.restored).inode == self.made:
                image.remove(self.volume, self.restored)

    def finish(self) -> None:
        """Remove the old image."""
        image.remove(self.volume, self.replaced, last_name=True)


def replace_all(replacements: Sequence[Replacement], node: str) -> None:
    """Put all new images in place of the old ones, or leave the old ones.

    Raises `IncompleteImage` if the volume lets neither be done, or what is left over be
    removed.
    """
    with contextlib.ExitStack() as stack:
        try:
            for each in replacements:
                each.prepare()
                # Nor is the new one opened before it is certain that it stays.
                stack.enter_context(locked(each.volume, each.restored, node=node))
            for each in replacements:
                each.replace()
            # Who opened an old image in spite of its lock has the only good one.
            for each in replacements:
                each.lock.check()
            for each in replacements:
                image.settle(each.volume, each.path)
        except BaseException as err:
            _undo_all(replacements, err)
            raise
        _finish_all(replacements)


def _undo_all(replacements: Sequence[Replacement], cause: BaseException) -> None:
    failed = None
    for each in replacements:
        try:
            each.undo()
        except OSError as err:
            failed = failed or (each, err)
    if failed is not None:
        each, error = failed
        raise errors.IncompleteImage(
            "%s; and image %s could not be put back (%s)" % (cause, each.path, error.strerror),
            path=each.path,
            hint="its content is in %s or in %s: restore it again when volume %s is healthy"
            % (each.path, each.replaced, each.volume.name),
        ) from cause


def _finish_all(replacements: Sequence[Replacement]) -> None:
    failed = None
    for each in replacements:
        try:
            each.finish()
        except OSError as err:
            failed = failed or (each, err)
    if failed is not None:
        each, error = failed
        raise errors.IncompleteImage(
            "image %s is restored, but the old one could not be removed (%s)"
            % (each.path, error.strerror),
            path=each.replaced,
            hint="restore it again when volume %s is healthy, which removes %s"
            % (each.volume.name, each.replaced),
        ) from error


def remove_remains(
    volume: Volume, path: str, instead: str, *, node: str, nodes: Iterable[str]
) -> bool:
    """Remove what a restoration of the image `instead` left at `path`; False if it may go on.

    For `node` see `hold.locked`; `nodes` are all whose servers may have the image.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(volume, instead, node=node))
        except FileNotFoundError:
            pass
        except OpenElsewhere as err:
            # An image that a server has is not being restored.
            if err.holder is None or err.holder.number not in map(node_number, nodes):
                return False
        try:
            if _same(volume, path, instead):
                volume.unlink(path)
                return True
            return hold.remove(volume, path, node=node)
        except (FileNotFoundError, OpenElsewhere):
            return False


def _same(volume: Volume, path: str, other: str) -> bool:
    try:
        return volume.lstat(path).inode == volume.lstat(other).inode
    except FileNotFoundError:
        return False
