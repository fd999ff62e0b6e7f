"""Mends in the node daemon's functions (`ganeti.backend`).

Some of them want a path for a disk that is otherwise reached in userspace: OS
scripts and imaging.  They get one for as long as they run.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import transfer

# Functions during which every gluster disk has a path.
WITH_PATHS = ("InstanceOsAdd", "RunRenameInstance", "BlockdevImage")


def extend(module: Any) -> None:
    """Mend the functions of `ganeti.backend` that go wrong for gluster."""
    wanted = (
        *WITH_PATHS,
        "BlockdevCreate",
        "BlockdevGetdimensions",
        "BlockdevWipe",
        "CreateFileStorageDir",
        "DevCacheManager",
        *transfer.FUNCTIONS,
    )
    missing = [name for name in wanted if not callable(getattr(module, name, None))]
    if missing:
        raise PatchRefused("ganeti.backend lacks %s" % ", ".join(missing))
    for name in WITH_PATHS:
        setattr(module, name, _with_paths(getattr(module, name)))
    module.BlockdevCreate = _undone(module.BlockdevCreate)
    transfer.extend(module)
    module.BlockdevGetdimensions = _each_by_itself(
        module.BlockdevGetdimensions, module.errors.BlockDeviceError
    )
    module.BlockdevWipe = _unless_gluster(module.BlockdevWipe, module.constants.DT_GLUSTER)
    module.CreateFileStorageDir = _absolute_only(module.CreateFileStorageDir)
    cache = module.DevCacheManager
    for name in ("UpdateCache", "RemoveCache"):
        setattr(cache, name, classmethod(_pathless_allowed(getattr(cache, name).__func__)))


def _with_paths(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # Late: the class needs Ganeti's modules, and this one only its functions.
        from ganeti_gluster.storage.gluster import kernel_paths

        with kernel_paths():
            return original(*args, **kwargs)

    return wrapper


def _undone(original: Callable[..., Any]) -> Callable[..., Any]:
    """Remove an image that was created when what follows its creation fails."""

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from ganeti_gluster.storage.gluster import removing_what_is_created

        with removing_what_is_created():
            return original(*args, **kwargs)

    return wrapper


def _each_by_itself(
    original: Callable[[list[Any]], list[Any]], error: type[Exception]
) -> Callable[[list[Any]], list[Any]]:
    """Let a disk whose size cannot be determined count as not found, as Ganeti documents it.

    Ganeti only catches errors of the search for a device, so an image on an unavailable volume
    would make the answer fail for all disks of the node.
    """

    @functools.wraps(original)
    def wrapper(disks: list[Any]) -> list[Any]:
        result: list[Any] = []
        for disk in disks:
            try:
                result.extend(original([disk]))
            except error as err:
                logging.warning("%s", err)
                result.append(None)
        return result

    return wrapper


def _unless_gluster(original: Callable[..., Any], template: str) -> Callable[..., Any]:
    """Leave the wiping of new space out.

    Ganeti wipes disks that it made and the new part of disks that it grew.  What
    was never written of an image reads as zeroes; and to write there while a
    guest has the image open would be a second data path to it.
    """

    @functools.wraps(original)
    def wrapper(disk: Any, offset: int, size: int) -> Any:
        if disk.dev_type != template:
            return original(disk, offset, size)
        logging.info("Not wiping %s: its new space reads as zeroes", disk.logical_id)
        return None

    return wrapper


def _absolute_only(original: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out the directory of an image on the volume.

    Ganeti hands the node the directory part of the first disk's logical id,
    which for gluster is no path of the node: stock makes a stray `/ganeti`.
    """

    @functools.wraps(original)
    def wrapper(file_storage_dir: str) -> Any:
        if os.path.isabs(file_storage_dir):
            return original(file_storage_dir)
        return None

    return wrapper


def _pathless_allowed(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the cache of device paths from calling a disk with no path an error."""

    @functools.wraps(original)
    def wrapper(cls: type, dev_path: str | None, *args: Any, **kwargs: Any) -> Any:
        if dev_path is not None:
            return original(cls, dev_path, *args, **kwargs)
        return None

    return wrapper
