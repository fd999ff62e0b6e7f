"""A volume as Ganeti's disk parameters name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ganeti_gluster import errors
from ganeti_gluster.tools import names

if TYPE_CHECKING:  # many of Ganeti's processes import this module, few connect
    from ganeti_gluster.tools import gfapi


class VolfileServer(NamedTuple):
    """A machine that runs glusterd."""

    host: str
    port: int


class VolumeSpec(NamedTuple):
    """A volume's name and where to ask for it; all values are valid."""

    name: str
    servers: tuple[VolfileServer, ...]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> VolumeSpec:
        """From Ganeti's gluster disk parameters `host`, `port` and `volume`.

        `host` is a server or a comma-separated list of them, in order of
        preference, each optionally with a port of its own
        (`node1,node2:24008,[2001:db8::1]:24007`); `port` holds for the others.
        Other parameters are left alone.  Raises `InvalidParameter`.
        """
        name = names.volume_name(params.get("volume"))
        text = params.get("host")
        port = names.port(params.get("port", names.DEFAULT_PORT))
        if not isinstance(text, str):
            raise errors.InvalidParameter("host %r: it is not text" % (text,))
        servers = dict.fromkeys(_server(part.strip(), port) for part in text.split(","))
        return cls(name, tuple(servers))

    def where(self, path: str) -> str:
        """Where an image is, for people: `gluster://node1:24007/gv0/ganeti/…`."""
        return "gluster://%s/%s/%s" % (names.server(*self.servers[0]), self.name, path)

    def text_of_servers(self) -> str:
        """The servers as the parameter `host` names them."""
        return ",".join(names.server(*server) for server in self.servers)


#: As in the profile: a lock that the bricks have forgotten is not taken for one that is held.
_OPTIONS = (("*-client-*", "strict-locks", "on"),)


def connect(
    spec: VolumeSpec,
    *,
    timeout: float | None = None,
    log_file: str = "/dev/null",
    log_level: int = 0,
) -> gfapi.Volume:
    """A connection to the volume from this process's pool.

    Raises a `ConnectError` after at most `timeout` seconds (`gfapi.CONNECT_TIMEOUT`).
    Without a log file libgfapi says nothing anywhere.
    """
    from ganeti_gluster.tools import gfapi

    target = gfapi.ConnectionSpec(
        spec.name,
        spec.servers,
        log_file=log_file,
        log_level=log_level,
        options=_OPTIONS,
    )
    return gfapi.connect(target, timeout=gfapi.CONNECT_TIMEOUT if timeout is None else timeout)


def _server(text: str, default_port: int) -> VolfileServer:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        host += bracket
        if port and not port.startswith(":"):
            raise errors.InvalidParameter("host %r: only a port follows the bracket" % text)
        if port == ":":
            raise errors.InvalidParameter("host %r: its port is empty" % text)
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise errors.InvalidParameter("host %r: its port is empty" % text)
    return VolfileServer(names.host(host), names.port(port) if port else default_port)
