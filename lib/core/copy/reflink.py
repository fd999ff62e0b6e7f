"""Sharing blocks instead of copying them, on a volume of a single brick.

`glfs_copy_file_range` hands the copy to a brick, whose file system (XFS) makes both files share
the blocks, at once.  Its traps, each seen with GlusterFS 11.1:

- No translator that knows several bricks or shards implements it: on a replicated
  volume it changes ONE brick of three and reports success.  So the client's own volume
  graph decides.  It is read before and again afterwards, because a brick may be added in
  the meantime.  Unless it shows a single brick, the image is copied byte by byte.
- It ignores the offset of the source, and always copies from its beginning.
- It copies at most 1 GiB in one call, so larger images are copied byte by byte.
"""

from __future__ import annotations

import errno

from ganeti_gluster.tools.gfapi import File, Volume, topology

#: The largest image, in bytes: what one call copies.
LONGEST = 1 << 30

_LOOKED_AT = 64 << 10
_IMPOSSIBLE = frozenset(
    (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EBADF)
)


def clone(
    source_volume: Volume, source: File, target_volume: Volume, target: File, size: int
) -> bool:
    """Give `target`, which is empty, all content of `source`.

    False, and `target` is empty still, where that is impossible.
    """
    if size > LONGEST or not source_volume.shares_connection(target_volume):
        return False
    before = source_volume.volfile()
    if not allowed(before):
        return False
    try:
        whole = _clone(source, target, size)
    except OSError as err:
        if err.errno not in _IMPOSSIBLE:
            raise
        whole = False
    if whole and source_volume.volfile() == before:
        return True
    target.truncate(0)
    target.truncate(size)
    return False


def allowed(volfile: str) -> bool:
    """Whether the volume of this graph is a single brick, and not sharded."""
    try:
        shape = topology.parse(volfile)
    except ValueError:
        return False
    return (
        len(shape.subvolumes) == 1
        and shape.subvolumes[0].kind == "single"
        and len(shape.bricks) == 1
        and not shape.sharded
    )


def _clone(source: File, target: File, size: int) -> bool:
    """Clone all of it in one call, and look at its end."""
    if source.clone_whole(target, size) != size or target.stat().size != size:
        return False
    end = max(0, size - _LOOKED_AT)
    return source.pread(_LOOKED_AT, end) == target.pread(_LOOKED_AT, end)
