"""The master's requests to a node: a verb, its arguments and its answer as JSON.

The master runs `python3 -m ganeti_gluster.core.pool.agent VERB ARGUMENTS` over Ganeti's SSH, as
root.  The answer is `{"result": …}` or `{"error": "…"}` in one line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ganeti_gluster import __version__, constants
from ganeti_gluster.core import image, readable
from ganeti_gluster.core.pool import blame, connections, packages, place, self_heal, tls
from ganeti_gluster.core.pool import discard as discarding
from ganeti_gluster.core.pool.facts import CandidateFacts
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import command, names, systemd
from ganeti_gluster.tools.gfapi import Volume
from ganeti_gluster.tools.gfapi import without as hiding
from ganeti_gluster.tools.gfapi.probe import probe
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed
from ganeti_gluster.tools.processes import leave

MODULE = "ganeti_gluster.core.pool.agent"
#: Seconds for short commands of the system.
SHORT = 20.0
PROBE_TEXT = b"ganeti-gluster was here\n"


def argv(verb: str, arguments: dict[str, Any]) -> list[str]:
    """The command that has `verb` done where it is run."""
    return [packages.PYTHON, "-I", "-m", MODULE, verb, json.dumps(arguments)]


def look(
    *, servers: Sequence[str], directory: str, volume: str, device: str, now: float
) -> dict[str, Any]:
    """The facts about this node; `servers` are all nodes' names, `now` the asker's clock."""
    clock = time.time() - now
    gluster = Gluster(patience=5)
    addresses = {server: _address(server) for server in servers}
    facts = CandidateFacts(
        version=_version(),
        plugin=__version__,
        active=_unit("is-active"),
        enabled=_unit("is-enabled"),
        own_addresses=tuple(_own_addresses()),
        addresses=addresses,
        names={address: _name(address) for address in addresses.values() if address},
        reach=_reach(servers),
        has_mkfs=os.path.exists("/usr/sbin/mkfs.xfs") or os.path.exists("/sbin/mkfs.xfs"),
        clock=clock,
        place=place.look(directory, volume),
        device=place.look_at_device(device, directory) if device else None,
    )
    try:
        peers = gluster.peers()
        facts = dataclasses.replace(
            facts,
            uuid=gluster.own_uuid(),
            peers=tuple(peer.hostname for peer in peers),
            peer_uuids=tuple(peer.uuid for peer in peers),
            unsound_peers=tuple(
                "%s: %s%s"
                % (peer.hostname, peer.state_text, "" if peer.connected else " (Disconnected)")
                for peer in peers
                if not peer.sound
            ),
            volumes=tuple(info.name for info in gluster.volumes()),
        )
    except (GlusterFailed, command.CommandFailed):
        facts = dataclasses.replace(facts, active=False)
    return dataclasses.asdict(facts)


def mounted(*, directory: str, device: str) -> bool:
    """See `place.is_prepared`."""
    return place.is_prepared(directory, device)


def look_at_place(*, directory: str, volume: str) -> dict[str, Any]:
    """See `place.look`."""
    return dataclasses.asdict(place.look(directory, volume))


def ready(*, directory: str, volume: str) -> bool:
    """Whether a brick of the volume could be made in the directory at once."""
    facts = place.look(directory, volume)
    return (
        facts.own_file_system
        and not facts.read_only
        and not (facts.entries or facts.volume_id or facts.inside)
    )


def prepare(*, directory: str, device: str, wipe: bool) -> bool:
    """See `place.prepare`."""
    return place.prepare(directory, device, wipe=wipe)


def release(*, directory: str) -> bool:
    """See `place.release`."""
    return place.release(directory)


def discard(*, brick: str, volume: str, volume_id: str) -> bool:
    """See `discarding.discard`."""
    return discarding.discard(brick, volume, volume_id, Gluster())


def count(*, brick: str) -> dict[str, int]:
    """See `place.count`."""
    return place.count(brick)


def behind(*, brick: str, volume: str) -> dict[str, int]:
    """See `blame.behind`."""
    return blame.behind(brick, volume)


def versions(
    *, brick: str, after: str = "", gfids: Sequence[str] | None = None
) -> dict[str, list[int]]:
    """See `blame.versions`."""
    return blame.versions(brick, after=after, gfids=gfids)


def unreadable_without(*, volume: str, servers: Sequence[str], without: str) -> list[str]:
    """The images that a client cannot read which does not know a brick, HOST:PATH."""
    params = {"volume": volume, "host": ",".join(servers)}
    with connect(VolumeSpec.from_params(params)) as connection:
        less = hiding.without(connection, without)
        paths = [
            info.path
            for directory in constants.IMAGE_DIRECTORIES
            for info in _images(connection, directory)
        ]
        return ["%s (%s)" % image for image in readable.unreadable(less, paths)]


def _images(volume: Volume, directory: str) -> list[image.ImageInfo]:
    try:
        return image.list_images(volume, directory).images
    except FileNotFoundError:
        return []


def end_self_heal() -> int:
    """See `self_heal.end`."""
    return self_heal.end()


def reach(*, server: str) -> str:
    """Why the glusterd of a server is not reached from here, "" if it is."""
    return _reach([server])[server]


def start_glusterd() -> None:
    """Start this node's glusterd where it does not run; its bricks start with it."""
    tls.start_unit()


def look_at_tls() -> dict[str, Any]:
    """See `tls.look`."""
    return dataclasses.asdict(tls.look())


def request_certificate(*, name: str) -> list[str]:
    """The lines of `tls.request`."""
    return tls.request(name).splitlines()


def install_certificate(*, certificate: str, authorities: str) -> None:
    """See `tls.install`."""
    tls.install(certificate, authorities)


def link_certificate() -> None:
    """See `tls.link`."""
    tls.link()


def restart_glusterd(*, management: bool | None = None) -> None:
    """Stop all of Gluster that serves on this node, and start it with TLS, without, or as before.

    What was stopped is started even if only a part of it ended.
    """
    try:
        tls.stop()
    finally:
        tls.start(management=management)


def renew_clients() -> None:
    """See `tls.renew_clients`."""
    tls.renew_clients()


def look_at_packages() -> dict[str, Any]:
    """See `packages.look`."""
    return dataclasses.asdict(packages.look())


def download_packages() -> None:
    """See `packages.download`."""
    packages.download()


def upgrade_packages(*, version: str, member: bool) -> None:
    """See `packages.upgrade`."""
    packages.upgrade(version=version, member=member)


def end_connections(*, servers: Sequence[str]) -> None:
    """See `connections.end`."""
    connections.end(servers)


def try_volume(*, volume: str, servers: Sequence[str]) -> None:
    """Write a file through libgfapi, read it back and remove it."""
    params = {"volume": volume, "host": ",".join(servers)}
    path = ".ganeti-gluster-probe-%s" % socket.gethostname()
    with connect(VolumeSpec.from_params(params)) as connection:
        if connection.access(path):
            connection.unlink(path)
        try:
            with connection.create(path) as file:
                file.pwrite(PROBE_TEXT, 0)
                file.fsync()
                read = file.pread(len(PROBE_TEXT), 0)
        finally:
            connection.unlink(path)
    if read != PROBE_TEXT:
        raise GanetiGlusterError("data read from volume %s differs from what was written" % volume)


VERBS: dict[str, Callable[..., Any]] = {
    "look": look,
    "mounted": mounted,
    "place": look_at_place,
    "ready": ready,
    "prepare": prepare,
    "release": release,
    "discard": discard,
    "count": count,
    "behind": behind,
    "versions": versions,
    "unreadable": unreadable_without,
    "end-self-heal": end_self_heal,
    "reach": reach,
    "end-connections": end_connections,
    "start-glusterd": start_glusterd,
    "tls": look_at_tls,
    "request-certificate": request_certificate,
    "install-certificate": install_certificate,
    "link-certificate": link_certificate,
    "restart-glusterd": restart_glusterd,
    "renew-clients": renew_clients,
    "packages": look_at_packages,
    "download": download_packages,
    "upgrade": upgrade_packages,
    "try-volume": try_volume,
}


def _version() -> str:
    """The version of glusterd, as "11.1"; "" if there is none."""
    try:
        done = command.run(["glusterd", "--version"], timeout=SHORT, check=False)
    except command.CommandFailed:
        return ""
    words = done.stdout.split()
    return words[1] if len(words) > 1 and words[0] == "glusterfs" else ""


def _unit(question: str) -> bool:
    return (
        systemd.ctl(question, "--quiet", "glusterd.service", timeout=SHORT, check=False).exit_code
        == 0
    )


def _own_addresses() -> list[str]:
    done = command.run(["ip", "-json", "address", "show"], timeout=SHORT)
    return [
        address["local"]
        for link in json.loads(done.stdout)
        for address in link.get("addr_info", [])
        if "local" in address
    ]


def _address(server: str) -> str:
    try:
        answers = socket.getaddrinfo(server, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""
    return str(answers[0][4][0])


def _name(address: str) -> str:
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except OSError:
        return ""


def _reach(servers: Sequence[str]) -> dict[str, str]:
    # One at a time: a probe of several gives up the slow ones for the first that answers.
    reached = {}
    for server in servers:
        target = (server, names.DEFAULT_PORT)
        reached[server] = probe([target])[target] or ""
    return reached


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says, and answer."""
    verb, text = arguments
    answer: dict[str, Any]
    try:
        answer = {"result": VERBS[verb](**json.loads(text))}
    except (GanetiGlusterError, OSError) as err:
        answer = {"error": in_words(err)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
