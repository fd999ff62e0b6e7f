"""A volume as Ganeti's disk parameters name it, and as QEMU wants to hear it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ganeti_gluster import errors, names

if TYPE_CHECKING:  # many of Ganeti's processes import this module, few connect
    from ganeti_gluster import gfapi


class Server(NamedTuple):
    """A machine that runs glusterd; with transport `unix` a socket path and 0."""

    host: str
    port: int


class VolumeSpec(NamedTuple):
    """A volume's name and where to ask for it; all values are valid."""

    name: str
    servers: tuple[Server, ...]
    transport: str = "tcp"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> VolumeSpec:
        """From Ganeti's gluster disk parameters `host`, `port` and `volume`.

        `host` is a server or a comma-separated list of them, in order of
        preference, each optionally with a port of its own
        (`node1,node2:24008,[2001:db8::1]:24007`); `port` holds for the others.
        `transport` is optional; with `unix`, `host` is a socket's path.  Other
        parameters are left alone.  Raises `InvalidParameter`.
        """
        name = names.volume_name(params.get("volume"))
        transport = names.transport(params.get("transport", "tcp"))
        text = params.get("host")
        if transport == "unix":
            return cls(name, (Server(names.socket_path(text), 0),), transport)
        port = names.port(params.get("port", names.DEFAULT_PORT))
        if not isinstance(text, str):
            raise errors.InvalidParameter("host %r: it is not text" % (text,))
        servers = dict.fromkeys(_server(part.strip(), port) for part in text.split(","))
        return cls(name, tuple(servers), transport)

    def qemu_uri(self, path: str, server: Server) -> str:
        """The image's URI for QEMU and for Ganeti's parser, which wants the port."""
        image = quote("%s/%s" % (self.name, names.image_path(path)))
        if self.transport == "unix":
            return "gluster+unix:///%s?socket=%s" % (image, quote(server.host))
        return "gluster://%s/%s" % (names.server(*server), image)

    def qemu_blockdev(self, path: str) -> dict[str, Any]:
        """The image as QEMU's blockdev structure, which takes every server."""
        return {
            "driver": "gluster",
            "volume": self.name,
            "path": names.image_path(path),
            "server": [self._qemu_server(server) for server in self.servers],
        }

    def text_of_servers(self) -> str:
        """The servers as the parameter `host` names them."""
        if self.transport == "unix":
            return self.servers[0].host
        return ",".join(names.server(*server) for server in self.servers)

    def _qemu_server(self, server: Server) -> dict[str, str]:
        if self.transport == "unix":
            return {"type": "unix", "path": server.host}
        return {"type": "inet", "host": server.host, "port": str(server.port)}


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
    from ganeti_gluster import gfapi

    target = gfapi.Target(
        spec.name, spec.servers, spec.transport, log_file=log_file, log_level=log_level
    )
    return gfapi.connect(target, timeout=gfapi.CONNECT_TIMEOUT if timeout is None else timeout)


def reachable_by_qemu(spec: VolumeSpec, *, glusterfs_11: bool) -> VolumeSpec:
    """The volume with those of its servers that QEMU's driver can ask.

    From GlusterFS 11 on libgfapi cuts an IPv6 address at its last colon and then
    asks for IPv4 addresses only, and QEMU cannot tell it otherwise (seen with QEMU
    10.0 and GlusterFS 11.1).  Raises `InvalidParameter` where no server is left.
    """
    if spec.transport == "unix" or not glusterfs_11:
        return spec
    servers = tuple(server for server in spec.servers if ":" not in server.host)
    if not servers:
        raise errors.InvalidParameter(
            "QEMU with GlusterFS 11 cannot reach a server by IPv6 address (%s)"
            % ", ".join(names.server(*server) for server in spec.servers),
            hint="name a server that has an IPv4 address, too",
        )
    return spec._replace(servers=servers)


def live_server(spec: VolumeSpec, *, timeout: float | None = None) -> Server:
    """The first server of the list that takes a connection.

    All are asked at once; raises `VolumeUnreachable`, which names each with its
    reason, after at most `timeout` (`PROBE_TIMEOUT`) seconds.
    """
    from ganeti_gluster.gfapi.probe import PROBE_TIMEOUT, Probe

    answers = Probe(
        spec.servers, timeout=PROBE_TIMEOUT if timeout is None else timeout
    ).until_best()
    for server in spec.servers:
        if answers[server] is None:
            return server
    raise errors.VolumeUnreachable(
        "no server of volume %s answers" % spec.name,
        volume=spec.name,
        servers=[(names.server(*server), reason or "") for server, reason in answers.items()],
        hint="check that glusterd runs there and that its port is open",
    )


def _server(text: str, default_port: int) -> Server:
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
    return Server(names.host(host), names.port(port) if port else default_port)
