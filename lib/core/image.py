"""Images on a volume: the operations on a virtual disk, each complete or undone.

An operation that fails undoes what it did and nothing else.  Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ganeti_gluster import errors
from ganeti_gluster.core.changed import record
from ganeti_gluster.tools import names

if TYPE_CHECKING:  # as in ganeti_gluster.core.volume
    from ganeti_gluster.tools.gfapi import File, FileStat, Volume

#: Bytes allocated at a time: one long call would hold up a brick.
STEP = 256 << 20
#: Bytes of zeroes written in one call.
WRITE_STEP = 4 << 20
#: Seconds in which the space of an image has to be set aside.  Ganeti's master
#: waits 900 s (`RPC_TMO_NORMAL`) for a disk to be made or grown and then knows
#: nothing of it; the rest is for the sync, or for taking all back.
PREALLOCATION_SECONDS = 840.0
DIRECTORY_MODE = 0o755
IMAGE_MODE = 0o600
#: The attribute that holds an image's information text.
INFO_XATTR = "user.ganeti.info"
#: Bytes of that text; XFS and ext4 bricks both take it, whatever else is there.
INFO_BYTES = 2048

_PARENT_ATTEMPTS = 3


class ImageInfo(NamedTuple):
    """An image: `size` and `allocated` in bytes, `mtime` in seconds."""

    path: str
    size: int
    allocated: int
    mode: int
    uid: int
    gid: int
    mtime: float


class Listing(NamedTuple):
    """A directory's images, and the names in it that are not UTF-8 (escaped)."""

    images: list[ImageInfo]
    unreadable: list[str]


def create(
    volume: Volume, path: str, size: int, *, preallocation: str = names.PREALLOCATION_OFF
) -> ImageInfo:
    """Make an image of `size` bytes that reads as zeroes; EEXIST if there is one.

    It belongs to the owner of the volume's root directory (by which an
    administrator names QEMU's user), mode 0600; missing parent directories are
    made.  The size is reached in the last step, so an image cut short by a crash
    shows in its size.  A failure leaves nothing; raises `NoSpace`, `TookTooLong`,
    or `IncompleteImage` where the volume did not even let the rest be removed.
    """
    names.image_path(path)
    _check_size(path, size)
    names.preallocation(preallocation)
    _check_space(volume, size, preallocation)
    with contextlib.ExitStack() as made:
        file = _create_file(volume, path, made)
        with file:
            _own(volume, file)
            _extend(file, 0, size, preallocation)
            file.fsync()
            info = _info(path, file.stat())
        _verify_size(path, info.size, size)
        made.pop_all()
    return info


def remove(volume: Volume, path: str, *, last_name: bool = False) -> bool:
    """Remove an image; False if there was none.

    All its space is free when this returns, and a brick that loses its power does not bring
    the image back.  `last_name`: it has no other, though this client may for a moment still
    be told of one that is gone.
    """
    try:
        info = volume.lstat(names.image_path(path))
        with contextlib.ExitStack() as stack:
            file = None
            with contextlib.suppress(OSError):  # what cannot be opened can be removed
                file = stack.enter_context(volume.open(path)) if info.is_file else None
            single = info.links == 1 or last_name
            if info.is_file and single:
                _empty(volume, path)
            volume.unlink(path)
            if file is not None:
                file.fsync()
    except FileNotFoundError:
        return False
    if info.is_file and single:
        record.forget(volume, info.inode)
    return True


def settle(volume: Volume, path: str) -> None:
    """Have all bricks store what an image is called, and its attributes.

    Bricks answer before they have: one that loses its power forgets what was changed, and the
    others, which do not know that, no longer blame it for anything.
    """
    with volume.open(path) as file:
        file.fsync()


def grow(
    volume: Volume,
    path: str,
    size: int,
    *,
    preallocation: str = names.PREALLOCATION_OFF,
    dry_run: bool = False,
) -> ImageInfo:
    """Grow an image to `size` bytes; the new part reads as zeroes.

    To its present size is no change, to a smaller one is refused.  A dry run
    checks all and changes nothing.  A failure restores the old size; raises
    `NoSpace`, `TookTooLong`, or `IncompleteImage` where the volume did not even
    let it.
    """
    names.image_path(path)
    _check_size(path, size)
    names.preallocation(preallocation)
    old = stat(volume, path)
    if size < old.size:
        raise errors.InvalidParameter(
            "image %s has %d bytes and cannot shrink to %d" % (path, old.size, size)
        )
    _check_space(volume, size - old.size, preallocation)
    if dry_run or size == old.size:
        return old
    from ganeti_gluster.core.changed.check import growing  # it imports libgfapi

    file = volume.open(path, write=True)
    try:
        with file, growing(volume, path):
            _extend(file, old.size, size, preallocation)
            file.fsync()
            info = _info(path, file.stat())
        _verify_size(path, info.size, size)
    except BaseException as err:
        _shrink_back(volume, path, old.size, size, err)
        raise
    return info


def rename(volume: Volume, old: str, new: str) -> None:
    """Give an image another path; EEXIST if there is something.

    By a second name and the removal of the first, since GlusterFS's rename
    replaces.  Cut short it leaves both names, and a repetition finishes it.
    """
    names.image_path(old)
    names.image_path(new)
    stat(volume, old)
    try:
        volume.link(old, new)
    except FileExistsError:
        if old == new or volume.lstat(new).inode != volume.lstat(old).inode:
            raise
    volume.unlink(old)
    settle(volume, new)


def stat(volume: Volume, path: str) -> ImageInfo:
    """An image as it is now; ENOENT if there is none, EINVAL if it is no file."""
    info = volume.lstat(names.image_path(path))
    if not info.is_file:
        raise OSError(errno.EINVAL, "not a regular file", path)
    return _info(path, info)


def stamp(volume: Volume, path: str) -> str:
    """What is another one once the image was replaced or grown; ENOENT if there is none.

    For whoever may not open it.  Times are not part of it: clients of a sharded volume see
    different ones.
    """
    info = volume.lstat(names.image_path(path))
    return "%x %d" % (info.inode, info.size)


def list_images(volume: Volume, directory: str) -> Listing:
    """The regular files in a directory, by path, and its unreadable names."""
    names.image_path(directory)
    images, unreadable = [], []
    for entry in volume.scandir(directory):
        if not entry.readable:
            unreadable.append(entry.name)
        elif entry.stat.is_file:
            images.append(_info("%s/%s" % (directory, entry.name), entry.stat))
    return Listing(sorted(images), sorted(unreadable))


def set_info(volume: Volume, path: str, text: str) -> None:
    """Keep a text with the image; longer than `INFO_BYTES` it is cut."""
    value = text.encode("utf-8", "replace")[:INFO_BYTES].decode("utf-8", "ignore")
    volume.setxattr(names.image_path(path), INFO_XATTR, value.encode())


def get_info(volume: Volume, path: str) -> str:
    """The text kept with the image, empty if there is none."""
    try:
        value = volume.getxattr(names.image_path(path), INFO_XATTR)
    except OSError as err:
        if err.errno == errno.ENODATA:
            return ""
        raise
    return value.decode("utf-8", "replace")


def _empty(volume: Volume, path: str) -> None:
    # On a sharded volume unlink only takes the first piece; the others are
    # deleted later by the same client, if it lives so long: a process that ends
    # would leave them for ever, with no name.  Truncation deletes them at once.  An image
    # without any blocks has pieces too: a guest that trims its new disk makes empty ones.
    with contextlib.suppress(OSError):
        volume.truncate(path, 0)


def _info(path: str, info: FileStat) -> ImageInfo:
    return ImageInfo(path, info.size, info.allocated, info.mode, info.uid, info.gid, info.mtime)


def _check_size(path: str, size: int) -> None:
    if not 1 <= size <= names.SIZE_MIB << 20:
        raise errors.InvalidParameter(
            "size %d of image %s: it must be between 1 and %d bytes"
            % (size, path, names.SIZE_MIB << 20)
        )


def _check_space(volume: Volume, needed: int, preallocation: str) -> None:
    if preallocation == names.PREALLOCATION_OFF:
        return
    check_free_space(volume, needed)


def check_free_space(volume: Volume, needed: int) -> None:
    """Raise `NoSpace` unless the volume has so many bytes free."""
    free = volume.space().free
    if needed > free:
        raise errors.NoSpace(
            "volume %s has %d MiB free, but %d MiB are needed"
            % (volume.name, free >> 20, -(-needed >> 20)),
            needed=needed,
            free=free,
        )


def _create_file(volume: Volume, path: str, made: contextlib.ExitStack) -> File:
    # Another create that fails may take back the directories it made meanwhile.
    for attempt in range(_PARENT_ATTEMPTS):
        try:
            file = volume.create(path, mode=IMAGE_MODE)
        except FileNotFoundError:
            if attempt == _PARENT_ATTEMPTS - 1:
                raise
            _make_parents(volume, path, made)
        else:
            made.push(_Undo(volume, path))
            return file
    raise AssertionError("not reached")


def _make_parents(volume: Volume, path: str, made: contextlib.ExitStack) -> None:
    root = volume.stat("/")
    for directory in _parents(path):
        try:
            volume.mkdir(directory, mode=DIRECTORY_MODE)
        except FileExistsError:
            continue
        made.callback(_remove_directory, volume, directory)
        if (root.uid, root.gid) != (0, 0):
            volume.chown(directory, root.uid, root.gid)


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _remove_directory(volume: Volume, directory: str) -> None:
    with contextlib.suppress(OSError):
        volume.rmdir(directory)


class _Undo:
    """Removes a file that was made, if the block that made it fails."""

    def __init__(self, volume: Volume, path: str) -> None:
        self._volume = volume
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, value: BaseException | None, traceback: object) -> None:
        try:
            _empty(self._volume, self._path)
            self._volume.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as err:
            raise errors.IncompleteImage(
                "%simage %s is incomplete and could not be removed (%s)"
                % (errors.before(value), self._path, err.strerror),
                path=self._path,
                hint="remove it when volume %s is healthy again" % self._volume.name,
            ) from value


def _own(volume: Volume, file: File) -> None:
    root, own = volume.stat("/"), file.stat()
    if (own.uid, own.gid) != (root.uid, root.gid):
        file.chown(root.uid, root.gid)


def _extend(file: File, start: int, end: int, preallocation: str) -> None:
    if preallocation == names.PREALLOCATION_OFF:
        file.truncate(end)
        return
    deadline = time.monotonic() + PREALLOCATION_SECONDS
    for offset in range(start, end, STEP):
        stop = min(offset + STEP, end)
        # A sharded volume finds the pieces of an image by its size, so they must
        # lie within it before they are made, or a crash would leave them for
        # ever.  One byte less, so that the size still tells what is done.
        file.truncate(stop - 1)
        if preallocation == names.PREALLOCATION_FALLOC:
            file.allocate(offset, stop - offset)
            _check_deadline(file, deadline, start, stop, end)
        else:
            # Not zerofill, by which bricks only reserve blocks as for falloc.
            for place in range(offset, stop, WRITE_STEP):
                part = min(WRITE_STEP, stop - place)
                file.pwrite(bytes(part), place)
                _check_deadline(file, deadline, start, place + part, end)


def _check_deadline(file: File, deadline: float, start: int, done: int, end: int) -> None:
    if done < end and time.monotonic() > deadline:
        raise errors.TookTooLong(
            "image %s: after %d s only %d of %d MiB are allocated, which is too slow for Ganeti"
            % (file.path, PREALLOCATION_SECONDS, (done - start) >> 20, (end - start) >> 20),
            hint="create a smaller image and grow it in steps, or use another kind of"
            " preallocation",
        )


def _verify_size(path: str, actual: int, wanted: int) -> None:
    if actual != wanted:
        raise OSError(errno.EIO, "the size is %d, not %d" % (actual, wanted), path)


def _shrink_back(volume: Volume, path: str, old: int, wanted: int, cause: BaseException) -> None:
    # Through a new handle: the one whose write failed repeats that failure.
    try:
        with volume.open(path, write=True) as file:
            # Only if nobody grew it further meanwhile.
            if old < file.stat().size <= wanted:
                file.truncate(old)
    except OSError as err:
        raise errors.IncompleteImage(
            "%simage %s may have been grown only in part, and its old size could not be restored"
            " (%s)" % (errors.before(cause), path, err.strerror),
            path=path,
            hint="grow it again when its volume is healthy",
        ) from cause
