"""Corrections of code that runs on the master: cluster init and parameter checks."""

from __future__ import annotations

import inspect
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import InvalidParameter, PatchRefused
from ganeti_gluster.tools import names


def extend_bootstrap(module: Any) -> None:
    """Let `gnt-cluster init` take the template with no entry in file-storage-paths.

    Stock Ganeti mounts the volume below a directory that the file must allow;
    with our class nothing is mounted there.
    """
    original = module._PrepareGlusterStorage
    if "acceptance_fn" not in inspect.signature(original).parameters:
        raise PatchRefused("bootstrap._PrepareGlusterStorage is not as expected")

    def _PrepareGlusterStorage(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("acceptance_fn", lambda path: None)
        return original(*args, **kwargs)

    module._PrepareGlusterStorage = _PrepareGlusterStorage


def extend_common(module: Any) -> None:
    """Check the values of the template's parameters when they are set.

    Stock Ganeti checks only their type, so that a wrong value shows when the
    first disk is made with it.
    """
    original = module.CheckDiskAccessModeValidity
    template = module.constants.DT_GLUSTER
    OpPrereqError = module.errors.OpPrereqError
    invalid = module.errors.ECODE_INVAL

    def CheckDiskAccessModeValidity(parameters: dict[str, dict[str, Any]]) -> None:
        original(parameters)
        given = parameters.get(template, {})
        try:
            check_parameters(given)
        except InvalidParameter as err:
            raise OpPrereqError("Disk parameter of template gluster: %s" % err, invalid) from err

    CheckDiskAccessModeValidity.__doc__ = original.__doc__
    module.CheckDiskAccessModeValidity = CheckDiskAccessModeValidity


def check_parameters(given: dict[str, Any]) -> None:
    """Raise `InvalidParameter` for a value that no disk could be made with.

    `given` may be part of the template's parameters.  "default" is Ganeti's
    word for taking the default back, and is no value.
    """
    values = {
        constants.PARAM_HOST: "localhost",
        constants.PARAM_PORT: 24007,
        constants.PARAM_VOLUME: "gv0",
    }
    values.update({name: value for name, value in given.items() if value != "default"})
    VolumeSpec.from_params(values)
    names.preallocation(values.get(constants.PARAM_PREALLOCATION, names.PREALLOCATION_OFF))
    names.locking(values.get(constants.PARAM_LOCKING, names.LOCKING_ON))
    names.patience(values.get(constants.PARAM_PATIENCE, names.PATIENCE))
