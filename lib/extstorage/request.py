"""What Ganeti asks of the provider: the environment of its scripts, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import names

#: What Ganeti appends to a disk's name for its snapshot.
SNAPSHOT_SUFFIX = ".snap"
USERSPACE = "userspace"

_PARAMETER = "EXTP_"
#: The parameters of parameters.list, and what Ganeti passes on by itself.
_KNOWN = frozenset(map(str.upper, (*constants.TEMPLATE_PARAMETERS, "provider")))


@dataclass(frozen=True)
class ExtStorageRequest:
    """One disk, as Ganeti names it; all values are valid."""

    name: str
    spec: VolumeSpec
    parameters: Mapping[str, str]
    access: str
    preallocation: str
    patience: int
    environ: Mapping[str, str]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ExtStorageRequest:
        """Read Ganeti's variables; raises `InvalidParameter`."""
        params = {
            name.removeprefix(_PARAMETER).lower(): value
            for name, value in environ.items()
            if name.startswith(_PARAMETER)
        }
        if "volume" not in params:
            raise InvalidParameter(
                "the disk names no volume", hint="set volume=NAME,host=SERVER for the disk"
            )
        params.setdefault("host", "127.0.0.1")
        names.locking(params.get("locking", names.LOCKING_ON))
        return cls(
            name=names.image_name(environ.get("VOL_NAME")),
            spec=VolumeSpec.from_params(params),
            parameters={
                name: params[name] for name in constants.OPEN_PARAMETERS if name in params
            },
            access=names.access(params.get("access", "kernelspace")),
            preallocation=names.preallocation(
                params.get("preallocation", names.PREALLOCATION_OFF)
            ),
            patience=names.patience(params.get("patience", names.PATIENCE)),
            environ=environ,
        )

    @property
    def path(self) -> str:
        """The image's path on the volume."""
        return "%s/%s" % (constants.EXT_DIRECTORY, self.name)

    @property
    def is_snapshot(self) -> bool:
        return self.name.endswith(SNAPSHOT_SUFFIX)

    @property
    def in_userspace(self) -> bool:
        """Whether QEMU accesses the image itself, and nothing else needs a device."""
        return self.access == USERSPACE and not self.is_snapshot

    @property
    def exclusive(self) -> bool:
        """Whether the image is opened for one node alone."""
        return self.environ.get("VOL_OPEN_EXCLUSIVE", "True") != "False"

    @property
    def size(self) -> int:
        """The size of a new image in bytes."""
        return names.size_mib(self.environ.get("VOL_SIZE")) * MIB

    @property
    def new_size(self) -> int:
        """The size that the image shall grow to, in bytes."""
        return names.size_mib(self.environ.get("VOL_NEW_SIZE")) * MIB

    @property
    def uuid(self) -> str:
        """Ganeti's UUID of the disk; Ganeti leaves it out for a snapshot."""
        return self.environ.get("VOL_UUID", "")

    @property
    def metadata(self) -> str:
        """The text to keep with the image."""
        return self.environ.get("VOL_METADATA", "")

    @property
    def snapshot(self) -> str:
        """The path of the snapshot to take, beside the image."""
        name = names.image_name(self.environ.get("VOL_SNAPSHOT_NAME"))
        if not name.endswith(SNAPSHOT_SUFFIX) or name == self.name:
            # Another disk could have any other name.
            raise InvalidParameter(
                "snapshot name '%s': it must end with %s" % (name, SNAPSHOT_SUFFIX)
            )
        return "%s/%s" % (constants.EXT_DIRECTORY, name)

    def check_parameters(self) -> None:
        """Refuse parameters that would be ignored; raises `InvalidParameter`."""
        given = {
            name.removeprefix(_PARAMETER) for name in self.environ if name.startswith(_PARAMETER)
        }
        unknown = sorted(name.lower() for name in given - _KNOWN)
        if unknown:
            raise InvalidParameter(
                "unknown parameter %s" % ", ".join(unknown),
                hint="'gnt-storage info gluster' lists the known parameters",
            )
