"""Registration of this package in Ganeti's processes, at import.

The import hook (`ganeti_gluster.hook`) shows this module each module of Ganeti before it is
loaded.  The few named in `EXTENSIONS` are loaded as usual and then extended.  Nothing is extended
if the plugin is disabled on the node, if Ganeti's release is unknown, or if the code to extend
differs from what is expected.  Stock Ganeti then stays in place, and the reason is shown in one
line of Ganeti's log and by `gnt-gluster plugin status`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ganeti_gluster import __version__, constants
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.tools import private

# Module of Ganeti -> (module of ours, what its function `extend` does there).
# `extend(module)` does all of its work or none, and raises `PatchRefused` otherwise.
EXTENSIONS = {
    "ganeti.constants": ("ganeti_gluster.objects_ext", "extend_constants"),
    "ganeti.objects": ("ganeti_gluster.objects_ext", "extend_objects"),
    "ganeti.storage.bdev": ("ganeti_gluster.storage.gluster", "register"),
    "ganeti.backend": ("ganeti_gluster.patches.backend", "extend"),
    "ganeti.bootstrap": ("ganeti_gluster.patches.cluster", "extend_bootstrap"),
    "ganeti.cmdlib.instance_storage": ("ganeti_gluster.patches.promise", "extend"),
    "ganeti.cmdlib.instance_set_params": ("ganeti_gluster.patches.disk_volume", "extend"),
    "ganeti.cmdlib.instance_utils": ("ganeti_gluster.patches.instance_utils", "extend"),
    "ganeti.client.gnt_instance": ("ganeti_gluster.patches.disk_states", "extend_info"),
    "ganeti.cmdlib.cluster.verify": ("ganeti_gluster.patches.cluster_verify", "extend"),
    "ganeti.cmdlib.cluster": ("ganeti_gluster.patches.places", "extend_cluster"),
    "ganeti.cmdlib.group": ("ganeti_gluster.patches.group", "extend"),
    "ganeti.cmdlib.instance_create": ("ganeti_gluster.patches.instance_create", "extend"),
    "ganeti.cmdlib.instance_migration": ("ganeti_gluster.patches.instance_migration", "extend"),
    "ganeti.cmdlib.common": ("ganeti_gluster.patches.cluster", "extend_common"),
    "ganeti.cmdlib.node": ("ganeti_gluster.patches.space", "extend_node"),
    "ganeti.storage.container": ("ganeti_gluster.patches.space", "extend_container"),
    "ganeti.hypervisor.hv_kvm": ("ganeti_gluster.patches.hv_kvm", "extend_hypervisor"),
    "ganeti.hypervisor.hv_xen": ("ganeti_gluster.patches.hv_xen", "extend"),
    "ganeti.hypervisor.hv_kvm.kvm_utils": ("ganeti_gluster.patches.hv_kvm", "extend_utils"),
    "ganeti.impexpd": ("ganeti_gluster.patches.impexpd", "extend"),
    "ganeti.masterd.instance": ("ganeti_gluster.patches.masterd", "extend"),
    "ganeti.server.noded": ("ganeti_gluster.patches.noded", "extend"),
    "ganeti.watcher": ("ganeti_gluster.patches.disk_states", "extend_watcher"),
    "ganeti.utils.log": ("ganeti_gluster.plugin", "extend_log"),
}

# The module that makes the template ours.
TEMPLATE_MODULE = "ganeti.storage.bdev"

NODED = "ganeti-noded"


# Module of Ganeti -> None once extended, or the reason why it was not.
_results: dict[str, str | None] = {}
_logged: set[str] = set()


def find_spec(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """Find a module of Ganeti that is to be extended, else None."""
    if name not in EXTENSIONS:
        return None
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return None
    load = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        _extend(name, module)

    # The loader object belongs to this one spec, so nobody else is affected.
    spec.loader.exec_module = exec_module  # type: ignore[method-assign]
    return spec


def _extend(name: str, module: ModuleType) -> None:
    """Extend one module and record the result; never raises."""
    try:
        if name != "ganeti.utils.log":
            _check_allowed(name, module)
        ours, function = EXTENSIONS[name]
        getattr(importlib.import_module(ours), function)(module)
    except PatchRefused as err:
        _results[name] = str(err)
    except Exception as err:  # Ganeti goes on, whatever is wrong with us
        _results[name] = "%s: %s" % (type(err).__name__, err)
    else:
        _results[name] = None
    _log_refusals()


def _check_allowed(name: str, module: ModuleType) -> None:
    """Raise `PatchRefused` where the plugin may not extend this Ganeti."""
    if os.path.exists(constants.DISABLED_FILE):
        raise PatchRefused("switched off by %s" % constants.DISABLED_FILE)
    ganeti = module if name == "ganeti.constants" else sys.modules["ganeti.constants"]
    release = (ganeti.VERSION_MAJOR, ganeti.VERSION_MINOR)
    if release not in constants.SUPPORTED_GANETI:
        raise PatchRefused(
            "Ganeti %s is not supported (supported: %s)"
            % (
                ganeti.RELEASE_VERSION,
                ", ".join("%d.%d" % known for known in constants.SUPPORTED_GANETI),
            )
        )
    # Both are imported before what else is extended with them.
    for needed in ("ganeti.constants", TEMPLATE_MODULE):
        if name != needed and _results.get(needed):
            raise PatchRefused("%s was not extended" % needed)


def refusals() -> dict[str, str]:
    """Why modules of Ganeti loaded so far were left as they are, by module."""
    return {name: reason for name, reason in _results.items() if reason is not None}


def extended() -> list[str]:
    """The modules of Ganeti that were extended in this process, sorted."""
    return sorted(name for name, reason in _results.items() if reason is None)


def _log_refusals() -> None:
    """Write each reason to Ganeti's log once, when Ganeti has set up its log."""
    if not logging.getLogger().handlers:
        return
    reasons = sorted(set(refusals().values()) - _logged)
    if reasons:
        _logged.update(reasons)
        logging.warning(
            "ganeti-gluster %s left stock Ganeti in place: %s", __version__, "; ".join(reasons)
        )


def extend_log(module: Any) -> None:
    """Make `SetupLogging` also write the messages of the registration.

    Registration happens while Ganeti's modules are imported, before a process
    has a log.  The node daemon also leaves the result where
    `gnt-gluster plugin status` finds it, since only the daemon itself knows what it has
    loaded if it was started before an upgrade.
    """
    setup: Callable[..., Any] = module.SetupLogging

    def SetupLogging(logfile: str, program: str, *args: Any, **kwargs: Any) -> Any:
        result = setup(logfile, program, *args, **kwargs)
        _log_refusals()
        if program == NODED:
            _write_noded_state()
        return result

    SetupLogging.__doc__ = setup.__doc__
    module.SetupLogging = SetupLogging


def _write_noded_state() -> None:
    """Leave this node daemon's result in `NODED_STATE_FILE`."""
    state = {
        "pid": os.getpid(),
        "version": __version__,
        "extended": extended(),
        "refusals": refusals(),
    }
    try:
        private.write_json(constants.NODED_STATE_FILE, state)
    except (GanetiGlusterError, OSError) as err:
        logging.warning("Cannot write the state file of ganeti-gluster: %s", err)
