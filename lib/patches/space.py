"""The space of volumes in `gnt-node list-storage`.

Stock Ganeti measures the directory below which it would mount the volume; with nothing mounted
there, this is the node's own disk.  Here the master passes the volumes, each to the nodes of the
groups that use it, and a node measures its own through libgfapi.
"""

from __future__ import annotations

from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused, in_words
from ganeti_gluster.tools.gfapi.stat import Space

#: Beside the template's parameters of a volume: the names of the nodes that use it.
NODES = "nodes"


def extend_node(module: Any) -> None:
    """Let the master ask the nodes for volumes; `module` is `ganeti.cmdlib.node`."""
    original = getattr(module, "_GetStorageTypeArgs", None)
    if not callable(original):
        raise PatchRefused("cmdlib.node has no _GetStorageTypeArgs")

    def _GetStorageTypeArgs(cfg: Any, storage_type: str) -> list[Any]:
        if storage_type != module.constants.ST_GLUSTER:
            return original(cfg, storage_type)
        return [volumes_of(cfg, module.constants.DT_GLUSTER)]

    _GetStorageTypeArgs.__doc__ = original.__doc__
    module._GetStorageTypeArgs = _GetStorageTypeArgs


def volumes_of(cfg: Any, template: str) -> list[dict[str, Any]]:
    """For each node group its volume and its nodes, as plain data for the nodes."""
    nodes = cfg.GetAllNodesInfo().values()
    result = []
    for uuid, group in sorted(cfg.GetAllNodeGroupsInfo().items()):
        params = cfg.GetGroupDiskParams(group)[template]
        volume = {name: params[name] for name in constants.VOLUME_PARAMETERS if name in params}
        volume[NODES] = sorted(node.name for node in nodes if node.group == uuid)
        result.append(volume)
    return result


def extend_container(module: Any) -> None:
    """Let a node measure volumes; `module` is `ganeti.storage.container`."""
    gluster = module.constants.ST_GLUSTER
    if gluster not in module._STORAGE_TYPES or not callable(getattr(module._Base, "List", None)):
        raise PatchRefused("storage.container is not as expected")

    class VolumeStorage(module._Base):
        """The volumes that this node uses, as storage units."""

        def __init__(self, volumes: list[Any]) -> None:
            super().__init__()
            self._volumes = volumes

        def List(self, name: str | None, fields: list[str]) -> list[list[Any]]:
            from ganeti import netutils

            try:
                specs = specs_of(self._volumes, netutils.Hostname.GetSysName())
                return [
                    row(spec.name, _measure(spec), fields, module.constants)
                    for spec in specs
                    if name in (None, spec.name)
                ]
            except (GanetiGlusterError, OSError, ValueError) as err:
                raise module.errors.StorageError(
                    "Cannot measure the volume: %s" % in_words(err)
                ) from err

    module._STORAGE_TYPES[gluster] = VolumeStorage


def specs_of(volumes: list[Any], node: str) -> list[VolumeSpec]:
    """The volumes of a node among those that the master names.

    Raises `GanetiGlusterError` if it names none: a master without this package
    sends the path of stock Ganeti's mount.
    """
    if not all(isinstance(volume, dict) for volume in volumes):
        raise GanetiGlusterError(
            "the master names no volume",
            hint="'gnt-gluster plugin status' shows which template it uses",
        )
    own = [volume for volume in volumes if node in volume.get(NODES, ())]
    return list(dict.fromkeys(VolumeSpec.from_params(volume) for volume in own))


def _measure(spec: VolumeSpec) -> Space:
    with connect(spec) as volume:
        return volume.space()


def row(name: str, space: Space, fields: list[str], known: Any) -> list[Any]:
    """The values of `fields` for a volume, in MiB; `known` has Ganeti's field names."""
    values = {
        known.SF_NAME: name,
        known.SF_SIZE: space.total // MIB,
        known.SF_FREE: space.free // MIB,
        known.SF_USED: (space.total - space.free) // MIB,
        known.SF_ALLOCATABLE: True,
    }
    unknown = sorted(set(fields) - set(values))
    if unknown:
        raise ValueError("unknown field %s" % ", ".join(unknown))
    return [values[field] for field in fields]
