"""Mends where the node daemon moves a disk's content (`ganeti.backend`).

A conversion is not made by a pipe whose first part may fail unnoticed, and the OS
script that imports or exports a disk has a path for it as long as it runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: What must be there in `ganeti.backend`.
FUNCTIONS = ("BlockdevConvert", "_GetImportExportIoCommand", "_RecursiveFindBD", "_Fail")


def extend(module: Any) -> None:
    """Mend both; `FUNCTIONS` are there."""
    module.BlockdevConvert = _copied(module)
    module._GetImportExportIoCommand = _script_with_path(module)


def _copied(module: Any) -> Callable[..., Any]:
    """Copy to or from a gluster disk ourselves; `storage.convert` has the reason."""
    original, template = module.BlockdevConvert, module.constants.DT_GLUSTER

    @functools.wraps(original)
    def wrapper(src_disk: Any, target_disk: Any) -> Any:
        if template not in (src_disk.dev_type, target_disk.dev_type):
            return original(src_disk, target_disk)
        # Late: it needs the core and its library.
        from ganeti_gluster.errors import GanetiGlusterError
        from ganeti_gluster.storage.convert import convert

        devices = []
        for disk in (src_disk, target_disk):
            device = module._RecursiveFindBD(disk)
            if device is None:
                module._Fail("Cannot copy disk '%s': device not found", disk.uuid)
            devices.append(device)
        try:
            convert(*devices)
        except (GanetiGlusterError, OSError, module.errors.BlockDeviceError) as err:
            module._Fail("Disk conversion failed: %s", err, exc=True)
        return None

    return wrapper


def _script_with_path(module: Any) -> Callable[..., Any]:
    """Run the script in the program that gives it a path and keeps its image from others.

    Ganeti's import-export daemon runs the script after the request has ended.  Ganeti then already
    begins with the next disk, for which it assembles all of them.
    """
    original, constants = module._GetImportExportIoCommand, module.constants

    @functools.wraps(original)
    def wrapper(instance: Any, mode: str, ieio: str, ieargs: Any) -> Any:
        from ganeti_gluster.storage.gluster import keeping_paths

        with keeping_paths():
            parts = original(instance, mode, ieio, ieargs)
        if ieio != constants.IEIO_SCRIPT or ieargs[0].dev_type != constants.DT_GLUSTER:
            return parts
        disk, index = ieargs
        device = module._RecursiveFindBD(disk)
        if device is None:
            return parts
        from ganeti_gluster import with_path
        from ganeti_gluster.storage import node_names, one_writer

        env, prefix, suffix, size = parts
        importing = mode == constants.IEM_IMPORT
        kind = "IMPORT" if importing else "EXPORT"
        variables = [kind + "_DEVICE", kind + "_DISK_PATH"]
        if importing:
            variables.append("DISK_%d_PATH" % index)
        script = suffix.removeprefix("| ") if importing else prefix.removesuffix(" |")
        spec, path = device.place
        argv = with_path.argv(
            spec,
            path,
            variables,
            ["bash", "-c", script],
            node=node_names.own(),
            locking=one_writer.enabled(device.params),
            patience=one_writer.patience(device.params),
        )
        command = module.utils.ShellQuoteArgs(argv)
        if importing:
            return env, prefix, "| %s" % command, size
        return env, "%s |" % command, suffix, size

    return wrapper
