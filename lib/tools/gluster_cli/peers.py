"""The members of the trusted pool, as one glusterd sees them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

STATUS = ("peer", "status")
LIST = ("pool", "list")

#: glusterd's state numbers (GD_FRIEND_STATE_*) that matter.
BEFRIENDED = 3
REJECTED = 6

# What `pool list` calls the server that it was asked of.
_OWN_NAME = "localhost"


@dataclass(frozen=True)
class Peer:
    """Another member: `names` are all host names and addresses it is known by.

    `state` is glusterd's number, `state_text` its words ("Peer in Cluster",
    "Peer Rejected", "Accepted peer request", …).
    """

    uuid: str
    names: tuple[str, ...]
    connected: bool
    state: int
    state_text: str

    @property
    def hostname(self) -> str:
        """The name it is listed under."""
        return self.names[0]

    @property
    def sound(self) -> bool:
        """Whether it is "Peer in Cluster (Connected)"."""
        return self.connected and self.state == BEFRIENDED


def parse(answer: ET.Element) -> list[Peer]:
    """The peers of `peer status`."""
    return [_peer(peer) for peer in answer.iter("peer")]


def own_uuid(answer: ET.Element) -> str:
    """The UUID of the server that `pool list` was asked of, "" where it has none yet."""
    for peer in answer.iter("peer"):
        if peer.findtext("hostname") == _OWN_NAME:
            return peer.findtext("uuid", "")
    return ""


def _peer(peer: ET.Element) -> Peer:
    listed = [peer.findtext("hostname", "")]
    listed += [name.text or "" for name in peer.iterfind("hostnames/hostname")]
    state = peer.findtext("state", "-1")
    return Peer(
        uuid=peer.findtext("uuid", ""),
        names=tuple(dict.fromkeys(listed)),
        connected=peer.findtext("connected") == "1",
        state=int(state) if state.removeprefix("-").isdecimal() else -1,
        state_text=peer.findtext("stateStr", ""),
    )
