"""The copy of the master's store on another master candidate: one file, always complete."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.services import answers
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.config import HISTORY_RANGE
from ganeti_gluster.core.services.events import LONGEST_MESSAGE
from ganeti_gluster.core.services.store import Version
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import NotUnderstood, Serial

# Bytes of an event beside its message, whose characters take four at most, and of a
# snapshot of a large cluster.
_EVENT_BYTES = 2000 + 4 * LONGEST_MESSAGE
_SNAPSHOT_BYTES = 32 * 1024 * 1024


class InvalidReplica(GanetiGlusterError):
    """What should be the store of a master is something else."""


def longest(history: int) -> int:
    """The bytes that a dump with so many events has at most, unpacked."""
    return _SNAPSHOT_BYTES + history * _EVENT_BYTES


def fetched(answer: NodeAnswer, *, history: int) -> dict[str, Any]:
    """The dump in a node's answer, as `unpack` has it; raises GanetiGlusterError."""
    return unpack(answers.packed(answer, longest=longest(history)), history=history)


def pack(dump: Mapping[str, Any]) -> str:
    """A dump as a short text."""
    # A letter that is not ASCII takes less than its escape.
    plain = json.dumps(dump, ensure_ascii=False).encode()
    return base64.b64encode(zlib.compress(plain)).decode("ascii")


def unpack(text: str, *, history: int = HISTORY_RANGE[1]) -> dict[str, Any]:
    """The dump that was packed; raises `InvalidReplica`.

    Nothing is unpacked that is larger than a dump with a `history` of so many events.
    """
    try:
        dump = decode.plain(_expand(text, longest(history)), longest=longest(history))
        if not isinstance(dump, dict):
            raise NotUnderstood("dump", "not an object")
        version(dump)
    except (ValueError, NotUnderstood, zlib.error) as err:
        raise InvalidReplica("this is not a store from a master: %s" % err) from err
    return dump


def _expand(text: str, most: int) -> bytes:
    """The bytes that were compressed, if they are not more than `most`; raises ValueError."""
    machine = zlib.decompressobj()
    data = machine.decompress(base64.b64decode(text, validate=True), most)
    if machine.unconsumed_tail:
        raise ValueError("it has more than %d bytes" % most)
    if not machine.eof:
        raise ValueError("it is incomplete")
    return data


def version(dump: Mapping[str, Any]) -> Version:
    """Which state a dump is of; raises `NotUnderstood`."""
    term, generation = decode.value(tuple[Serial, Serial], dump.get("version"), "version")
    return Version(term, generation)


def save(dump: Mapping[str, Any], path: str | None = None) -> Version:
    """Keep `dump` unless there is a newer one, and return what is there now.

    A reader, and a crash, see the old file or the new one.
    """
    path = path or constants.SERVICES_REPLICA
    kept = load(path)
    if kept is not None and version(kept) >= version(dump):
        return version(kept)
    private.write(path, pack(dump), durable=True)
    return version(dump)


def load(path: str | None = None) -> dict[str, Any] | None:
    """The dump that was kept; None if there is none that can be used."""
    try:
        with open(path or constants.SERVICES_REPLICA, encoding="ascii", errors="replace") as file:
            return unpack(file.read())
    except (FileNotFoundError, InvalidReplica):
        return None
