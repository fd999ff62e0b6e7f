"""Our disk parameters in Ganeti's constants and `objects.Disk`.

Ganeti's tables of disk parameters are plain dicts that its Python code reads at call time, and its
Haskell daemons keep disk parameters as opaque JSON.
"""

from __future__ import annotations

from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.errors import PatchRefused

# What the template can do beyond what Ganeti knows of it: have snapshots, and adopt.
_TEMPLATE_SETS = ("DTS_SNAPSHOT_CAPABLE", "DTS_MAY_ADOPT")


def extend_constants(module: Any) -> None:
    """Add our parameters to the template's table of defaults and to the types.

    The table of the *required* parameters of a device (`DISK_LD_DEFAULTS`) is
    left alone: a node with this package must take disks from a master that
    does not send our parameters, and the other way round.
    """
    template = module.DT_GLUSTER
    defaults = module.DISK_DT_DEFAULTS.get(template)
    if not isinstance(defaults, dict) or not isinstance(module.DISK_DT_TYPES, dict):
        raise PatchRefused("the tables of disk parameters are not as expected")
    for name in _TEMPLATE_SETS:
        if not isinstance(getattr(module, name, None), frozenset):
            raise PatchRefused("the set of templates %s is not as expected" % name)
    missing = {*constants.VOLUME_PARAMETERS, constants.PARAM_ACCESS} - set(defaults)
    if missing:
        raise PatchRefused(
            "the gluster template lacks the parameter %s" % ", ".join(sorted(missing))
        )
    for name, default in constants.DISK_PARAMETERS.items():
        if module.DISK_DT_TYPES.get(name, module.VTYPE_STRING) != module.VTYPE_STRING:
            raise PatchRefused("the disk parameter %s has another type here" % name)
        defaults.setdefault(name, default)
        module.DISK_DT_TYPES[name] = module.VTYPE_STRING
    for name in _TEMPLATE_SETS:
        setattr(module, name, getattr(module, name) | {template})


def extend_objects(module: Any) -> None:
    """Let `Disk.ComputeLDParams` hand our parameters on to the device."""
    original = module.Disk.ComputeLDParams
    template = module.constants.DT_GLUSTER
    probe = original(template, module.constants.DISK_DT_DEFAULTS)
    if len(probe) != 1 or constants.PARAM_VOLUME not in probe[0]:
        raise PatchRefused("Disk.ComputeLDParams is not as expected")

    def ComputeLDParams(disk_template: str, disk_params: dict[str, Any]) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = original(disk_template, disk_params)
        if disk_template == template:
            for name, default in constants.DISK_PARAMETERS.items():
                if name in disk_params[template]:
                    value = disk_params[template][name]
                    # A cluster, unlike a group, stores Ganeti's word for the default.
                    result[0][name] = default if value == "default" else value
        return result

    ComputeLDParams.__doc__ = original.__doc__
    module.Disk.ComputeLDParams = staticmethod(ComputeLDParams)
