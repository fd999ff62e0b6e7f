"""A warning for disks that are larger than what their volume has free.

Images are sparse, so such a disk can be created; but its guest comes to a stand once the volume
is full.  Ganeti does not check the space of shared storage at all.  All new disks, of an instance
that is added, modified or converted, pass `GenerateDiskTemplate` of Ganeti's
`cmdlib.instance_storage`; a disk that grows passes `LUInstanceGrowDisk.CheckPrereq`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.constants import MIB
from ganeti_gluster.core import room
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused

_PROVIDER = "gluster"
_NEEDED = ("lu", "template_name", "disk_info", "full_disk_params")


def extend(module: Any) -> None:
    """Warn of new and of grown disks (`ganeti.cmdlib.instance_storage`)."""
    unit: Any = getattr(module, "LUInstanceGrowDisk", None)
    check = getattr(unit, "CheckPrereq", None)
    generate = getattr(module, "GenerateDiskTemplate", None)
    if not callable(check) or not callable(generate):
        raise PatchRefused("cmdlib.instance_storage is not as expected")
    signature = inspect.signature(generate)
    if not set(_NEEDED) <= set(signature.parameters):
        raise PatchRefused("GenerateDiskTemplate has other parameters than expected")

    @functools.wraps(generate)
    def generate_disk_template(*args: Any, **kwargs: Any) -> Any:
        disks = generate(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        lu, template, info, params = (given[name] for name in _NEEDED)
        for spec, sizes in _new(module.constants, template, info, params).items():
            warn(lu, spec, sizes)
        return disks

    @functools.wraps(check)
    def check_prereq(self: Any) -> None:
        check(self)
        if self.disk.dev_type == module.constants.DT_GLUSTER and self.delta > 0:
            node = self.cfg.GetNodeInfo(self.instance.primary_node)
            params = self.cfg.GetGroupDiskParams(self.cfg.GetNodeGroup(node.group))
            own = self.disk.params or {}
            warn(self, _spec({**params[module.constants.DT_GLUSTER], **own}), [self.delta])

    module.GenerateDiskTemplate = generate_disk_template
    unit.CheckPrereq = check_prereq


def _new(
    known: Any, template: str, disks: Sequence[Mapping[str, Any]], params: Mapping[str, Any]
) -> dict[VolumeSpec | None, list[int]]:
    """The sizes of new disks in MiB by volume; images that are adopted are there already."""
    found: dict[VolumeSpec | None, list[int]] = {}
    for disk in disks:
        if disk.get(known.IDISK_ADOPT):
            continue
        if template == known.DT_GLUSTER:
            spec = _spec(params[template])
        elif template == known.DT_EXT and disk.get(known.IDISK_PROVIDER) == _PROVIDER:
            spec = _spec(disk)
        else:
            continue
        found.setdefault(spec, []).append(int(disk[known.IDISK_SIZE]))
    return found


def _spec(params: Mapping[str, Any]) -> VolumeSpec | None:
    """The volume; None for parameters that are not valid, which those who use them report."""
    given = {name: params[name] for name in constants.VOLUME_PARAMETERS if name in params}
    try:
        return VolumeSpec.from_params(given)
    except GanetiGlusterError:
        return None


def warn(lu: Any, spec: VolumeSpec | None, sizes: Sequence[int]) -> None:
    """Warn if these MiB are more than the volume has free."""
    if spec is None or not sizes:
        return
    try:
        free = room.of_volume(spec).free // MIB
    except (GanetiGlusterError, OSError) as err:
        lu.LogWarning("The free space of the volume is not known: %s", err)
        return
    if sum(sizes) > free:
        lu.LogWarning(
            "Volume %s has %d MiB free, less than the %d MiB that may be written to the new"
            " space; once the volume is full, guests wait until there is space",
            spec.name,
            free,
            sum(sizes),
        )
