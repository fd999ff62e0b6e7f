"""Information for hooks about an instance's gluster disks, in addition to Ganeti's.

Ganeti gives a hook each disk's template and path, but not the volume, which is a parameter that
only the master has.
"""

from __future__ import annotations

import inspect
from typing import Any

from ganeti_gluster import __version__, constants
from ganeti_gluster.errors import PatchRefused

#: Ganeti puts GANETI_ before each of them.
PREFIX = "INSTANCE_GLUSTER_"
#: Of a disk that is not on the volume of the group.
OWN_VOLUME = "DISK%d_VOLUME"
_PARAMETERS = (*constants.OPEN_PARAMETERS, constants.PARAM_ACCESS)


def extend(module: Any) -> None:
    """Let `BuildInstanceHookEnvByObject` name the volume and this package's version."""
    original = getattr(module, "BuildInstanceHookEnvByObject", None)
    if original is None:
        raise PatchRefused("instance_utils.BuildInstanceHookEnvByObject is missing")
    template, signature = module.constants.DT_GLUSTER, inspect.signature(original)

    def BuildInstanceHookEnvByObject(lu: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        env: dict[str, Any] = original(lu, instance, *args, **kwargs)
        params = lu.cfg.GetInstanceDiskParams(instance).get(template, {})
        env.update({PREFIX + name.upper(): params[name] for name in _PARAMETERS if name in params})
        # Given by a job that has removed the instance by now.
        disks = signature.bind(lu, instance, *args, **kwargs).arguments.get("disks")
        if disks is None:
            disks = lu.cfg.GetInstanceDisks(instance.uuid)
        for index, disk in enumerate(disks):
            own = (disk.params or {}).get(constants.PARAM_VOLUME)
            if disk.dev_type == template and own is not None:
                env[PREFIX + OWN_VOLUME % index] = own
        env[PREFIX + "VERSION"] = __version__
        return env

    BuildInstanceHookEnvByObject.__doc__ = original.__doc__
    module.BuildInstanceHookEnvByObject = BuildInstanceHookEnvByObject
