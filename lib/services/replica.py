"""The store of the master, as another master candidate keeps it: one file, whole or not at all."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from ganeti_gluster import constants, private
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.services.store import Version


class InvalidReplica(GanetiGlusterError):
    """What should be the store of a master is something else."""


def pack(dump: Mapping[str, Any]) -> str:
    """A dump as a short text."""
    return base64.b64encode(zlib.compress(json.dumps(dump).encode())).decode("ascii")


def unpack(text: str) -> dict[str, Any]:
    """The dump that was packed; raises `InvalidReplica`."""
    try:
        dump = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
        version(dump)
    except (ValueError, KeyError, TypeError, zlib.error) as err:
        raise InvalidReplica("this is not the store of a master: %s" % err) from err
    assert isinstance(dump, dict)
    return dump


def version(dump: Mapping[str, Any]) -> Version:
    """Which state a dump is of."""
    term, generation = dump["version"]
    return Version(int(term), int(generation))


def save(dump: Mapping[str, Any], path: str | None = None) -> Version:
    """Keep `dump` unless there is a newer one, and return what is there now.

    A reader, and a crash, see the old file or the new one.
    """
    path = path or constants.SERVICES_REPLICA
    found = load(path)
    if found is not None and version(found) >= version(dump):
        return version(found)
    private.write(path, pack(dump), durable=True)
    return version(dump)


def load(path: str | None = None) -> dict[str, Any] | None:
    """The dump that was kept; None if there is none that can be used."""
    try:
        with open(path or constants.SERVICES_REPLICA, encoding="ascii", errors="replace") as file:
            return unpack(file.read())
    except (FileNotFoundError, InvalidReplica):
        return None
