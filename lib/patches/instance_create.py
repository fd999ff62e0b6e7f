"""Extension of the job that adds an instance (`ganeti.cmdlib.instance_create`): adoption.

Ganeti adopts LVM volumes and block devices.  `--disk 0:adopt=PATH` of the gluster template uses
the image at that path of the volume: its size becomes that of the disk, and it is renamed to the
name that a new image would have.
"""

from __future__ import annotations

import functools
from typing import Any

from ganeti_gluster.constants import MIB
from ganeti_gluster.errors import InvalidParameter, PatchRefused
from ganeti_gluster.tools import names


def extend(module: Any) -> None:
    """Let `LUInstanceCreate` check and adopt images."""
    unit: Any = getattr(module, "LUInstanceCreate", None)
    if not callable(getattr(unit, "CheckPrereq", None)) or not callable(
        getattr(module, "GenerateDiskTemplate", None)
    ):
        raise PatchRefused("cmdlib.instance_create is not as expected")
    check, generate = unit.CheckPrereq, module.GenerateDiskTemplate

    @functools.wraps(check)
    def check_prereq(self: Any) -> Any:
        # Before: Ganeti itself checks the sizes against the instance policy.
        if _adopts(module, self):
            _set_sizes(module, self)
        return check(self)

    @functools.wraps(generate)
    def generate_disk_template(lu: Any, template_name: str, *args: Any, **kwargs: Any) -> Any:
        disks = generate(lu, template_name, *args, **kwargs)
        # Ganeti has checked all by now, and would create the disks next.
        if isinstance(lu, unit) and _adopts(module, lu):
            _rename(module, lu, disks)
        return disks

    unit.CheckPrereq = check_prereq
    module.GenerateDiskTemplate = generate_disk_template


def _adopts(module: Any, lu: Any) -> bool:
    return bool(lu.adopt_disks and lu.op.disk_template == module.constants.DT_GLUSTER)


def _set_sizes(module: Any, lu: Any) -> None:
    """Give each disk of the request the size of its image, and refuse what cannot be adopted."""
    constants, errors = module.constants, module.errors
    try:
        paths = [names.image_path(disk[constants.IDISK_ADOPT]) for disk in lu.op.disks]
    except InvalidParameter as err:
        raise errors.OpPrereqError("Cannot adopt: %s" % err, errors.ECODE_INVAL) from err
    if len(set(paths)) != len(paths):
        raise errors.OpPrereqError("Duplicate image names given for adoption", errors.ECODE_INVAL)
    for other in lu.cfg.GetAllDisksInfo().values():
        if other.dev_type == constants.DT_GLUSTER and other.logical_id[1] in paths:
            raise errors.OpPrereqError(
                "Image %s is already a disk of this cluster" % other.logical_id[1],
                errors.ECODE_NOTUNIQUE,
            )
    for disk, path, size in zip(lu.op.disks, paths, _measure(module, lu, paths), strict=True):
        if size is None:
            raise errors.OpPrereqError(
                "Image %s is not on the volume, or the volume cannot be read" % path,
                errors.ECODE_NOENT,
            )
        if size == 0 or size % MIB:
            raise errors.OpPrereqError(
                "Image %s has %d bytes, which is not a whole number of MiB, as Ganeti requires;"
                " enlarge it first" % (path, size),
                errors.ECODE_STATE,
            )
        disk[constants.IDISK_SIZE] = size // MIB


def _measure(module: Any, lu: Any, paths: list[str]) -> list[int | None]:
    """The images' bytes, as the primary node sees them; None for one that is not found."""
    disks = [_disk(module, (module.constants.FD_LOOP, path)) for path in paths]
    instance = module.objects.Instance(primary_node=lu.op.pnode_uuid, disks=[], name="adopt")
    result = lu.rpc.call_blockdev_getdimensions(lu.op.pnode_uuid, [(disks, instance)])
    result.Raise("Cannot measure the images to adopt", prereq=True)
    return [None if size is None else size[0] for size in result.payload]


def _disk(module: Any, logical_id: Any) -> Any:
    return module.objects.Disk(
        dev_type=module.constants.DT_GLUSTER, logical_id=logical_id, size=0, params={}
    )


def _rename(module: Any, lu: Any, disks: list[Any]) -> None:
    """Give the images the names that Ganeti generated; what was renamed goes back on failure."""
    # Late: every job imports this module.
    from ganeti.rpc import node as rpc

    wanted = [disk[module.constants.IDISK_ADOPT] for disk in lu.disks]
    pairs = [
        ((disk.logical_id[0], path), tuple(disk.logical_id))
        for disk, path in zip(disks, wanted, strict=True)
    ]
    params = lu.cfg.GetGroupDiskParams(lu.cfg.GetNodeGroup(lu.pnode.group))
    done: list[Any] = []
    for old, new in pairs:
        (device,) = rpc.AnnotateDiskParams([_disk(module, old)], params)
        result = lu.rpc.call_blockdev_rename(lu.pnode.uuid, [(device, new)])
        if result.fail_msg:
            for before, after in reversed(done):
                (device,) = rpc.AnnotateDiskParams([_disk(module, after)], params)
                lu.rpc.call_blockdev_rename(lu.pnode.uuid, [(device, before)])
            result.Raise("Failed to rename the adopted images")
        done.append((old, new))
