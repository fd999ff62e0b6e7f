"""A volume of its own for a disk of the template (`ganeti.cmdlib.instance_set_params`).

Ganeti keeps parameters with each disk, which come before those of its template when a node is
told of it; but it lets an administrator set those of ext disks only.  This extends the job that
modifies an instance by what `gnt-gluster disk move` asks of it: the volume of a disk whose image
was copied there.  Since the job has the instance's lock, this is the moment at which the new image
becomes the valid one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core import presence
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.tools import names

#: What is given for a disk beside its volume: the stamps of the old image and the new one, and the
#: serial number of the instance, as they were when the image was copied.
OLD, NEW, SERIAL = "old_image", "new_image", "serial"
_OURS = (constants.PARAM_VOLUME, OLD, NEW, SERIAL)


def extend(module: Any) -> None:
    """Let `LUInstanceSetParams` check and set the volume of a disk."""
    unit: Any = getattr(module, "LUInstanceSetParams", None)
    methods = ("_VerifyDiskModification", "CheckPrereq", "_ModifyDisk")
    if not all(callable(getattr(unit, name, None)) for name in methods) or not callable(
        getattr(module, "CheckInstanceState", None)
    ):
        raise PatchRefused("cmdlib.instance_set_params is not as expected")
    verify, check, modify = (getattr(unit, name) for name in methods)
    template = module.constants.DT_GLUSTER

    @functools.wraps(verify)
    def verify_disk_modification(self: Any, op: str, params: Any, *args: Any) -> Any:
        ours = _take(params) if op == module.constants.DDM_MODIFY else {}
        try:
            return verify(self, op, params, *args)
        finally:
            params.update(ours)

    @functools.wraps(check)
    def check_prereq(self: Any) -> None:
        check(self)
        wanted = {
            identifier: params
            for op, identifier, params in self.op.disks
            if op == module.constants.DDM_MODIFY and set(_OURS) & set(params)
        }
        disks = self.cfg.GetInstanceDisks(self.instance.uuid) if wanted else []
        if any(disk.dev_type == template for disk in disks):
            # Ganeti has made indices of UUIDs by now.
            known = {**dict(enumerate(disks)), **{disk.uuid: disk for disk in disks}}
            _check(module, self, known, wanted)

    @functools.wraps(modify)
    def modify_disk(self: Any, idx: int, disk: Any, params: Any, private: Any) -> Any:
        ours = _take(params) if disk.dev_type == template else {}
        volume = ours.get(constants.PARAM_VOLUME)
        if volume is None:
            return modify(self, idx, disk, params, private)
        default = self.cfg.GetInstanceDiskParams(self.instance)[template]
        own = dict(disk.params or {})
        own.pop(constants.PARAM_VOLUME, None)
        if volume != default[constants.PARAM_VOLUME]:
            own[constants.PARAM_VOLUME] = volume
        disk.params = own
        changes = modify(self, idx, disk, params, private)
        return [*changes, ("disk.volume/%d" % idx, volume)]

    unit._VerifyDiskModification = verify_disk_modification
    unit.CheckPrereq = check_prereq
    unit._ModifyDisk = modify_disk


def _take(params: Any) -> dict[str, str]:
    """Take what is ours out of the parameters of a change."""
    return {name: params.pop(name) for name in _OURS if name in params}


def _check(
    module: Any, unit: Any, disks: Mapping[Any, Any], wanted: Mapping[Any, Mapping[str, str]]
) -> None:
    """Raise `OpPrereqError` unless all is as it was when the images were copied.

    Each start of the instance counts its serial number up.  Jobs are no root's, and cannot read
    the images.
    """
    errors, template = module.errors, module.constants.DT_GLUSTER
    module.CheckInstanceState(
        unit, unit.instance, module.INSTANCE_DOWN, msg="its disks are to have another volume"
    )
    default = unit.cfg.GetInstanceDiskParams(unit.instance)[template]
    for identifier, params in wanted.items():
        disk = disks.get(identifier)
        if disk is None or disk.dev_type != template or set(_OURS) - set(params):
            raise errors.OpPrereqError(
                "The volume of a disk is changed by gnt-gluster disk move, which copies its image",
                errors.ECODE_INVAL,
            )
        path = disk.logical_id[1]
        if params[SERIAL] != str(unit.instance.serial_no):
            raise errors.OpPrereqError(
                "Instance %s has been changed since its disks were copied" % unit.instance.name,
                errors.ECODE_STATE,
            )
        try:
            old = VolumeSpec.from_params({**default, **(disk.params or {})})
            new = old._replace(name=names.volume_name(params[constants.PARAM_VOLUME]))
            for spec, stamp in ((old, params[OLD]), (new, params[NEW])):
                if presence.stamps(spec, [path]).get(path) != stamp:
                    raise errors.OpPrereqError(
                        "Image %s of volume %s has been replaced since it was copied"
                        % (path, spec.name),
                        errors.ECODE_STATE,
                    )
        except GanetiGlusterError as err:
            raise errors.OpPrereqError(str(err), errors.ECODE_STATE) from err
