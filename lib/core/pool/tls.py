"""A node's part of Gluster's TLS: its key, its certificate, and the processes that use them.

GlusterFS looks for three files in a directory that is compiled in.  A process reads them when it
begins to listen or to connect, so a new certificate is used only after a restart.  The file
`secure-access` has glusterd and all that connect to it use TLS as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from ganeti_gluster.core.pool.self_heal import NAME as SELF_HEAL
from ganeti_gluster.core.serve import fleet
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private, systemd, x509
from ganeti_gluster.tools.decode import Name, Sentence
from ganeti_gluster.tools.processes import command_lines

#: Where GlusterFS looks: Debian's 11.1, and its 10.3, which has OpenSSL's own directory.
DIRECTORIES = ("/etc/ssl", "/usr/lib/ssl")
CERTIFICATE, KEY, AUTHORITIES = FILES = ("glusterfs.pem", "glusterfs.key", "glusterfs.ca")
SECURE_ACCESS = "/var/lib/glusterd/secure-access"
#: Seconds for glusterd to stop or to start.
UNIT_SECONDS = 120.0
#: Seconds for a certificate of another machine's clock to become valid.
CLOCK_SECONDS = 30.0

_GLUSTERD = "glusterd.service"
_NEW = ".new"
_PUBLIC_MODE = 0o644
_PAUSE = 0.5


@dataclass(frozen=True)
class NodeTls:
    """What a node has: whether glusterd is to use TLS, and its certificate.

    `problem` is why there is no usable one.  `authorities` is the digest of those that the node
    trusts.  `stale`: glusterd was started before the certificate was written.  `linked`: the files
    are in each directory where a release of GlusterFS looks.
    """

    management: bool = False
    problem: Sentence = ""
    name: Name = ""
    ends: float = 0.0
    authorities: Name = ""
    stale: bool = False
    linked: bool = True

    def fits(self, node: str, *, now: float, spare: float = 0.0) -> bool:
        """Whether the node can use its certificate for `spare` seconds from `now` on."""
        return not self.problem and self.name == node and self.ends > now + spare


def place() -> str:
    """The directory with the node's files; that of newer releases where there are none."""
    found = [path for path in DIRECTORIES if os.path.isfile(os.path.join(path, CERTIFICATE))]
    return (found or DIRECTORIES)[0]


def digest(text: bytes) -> str:
    """What is told of authorities."""
    return hashlib.sha256(text).hexdigest()


def look() -> NodeTls:
    """What this node has."""
    management = os.path.exists(SECURE_ACCESS)
    certificate, key, authorities = (os.path.join(place(), name) for name in FILES)
    missing = [path for path in (certificate, key, authorities) if not os.path.isfile(path)]
    if missing:
        return NodeTls(management, "missing: %s" % ", ".join(missing))
    with open(authorities, "rb") as stream:
        trusted = digest(stream.read())
    found, problem = examine(certificate, key, authorities)
    stale = _started() < os.stat(certificate).st_mtime
    return NodeTls(management, problem, found.name, found.ends, trusted, stale, not _unlinked())


def examine(certificate: str, key: str, authorities: str) -> tuple[x509.Certificate, str]:
    """What the certificate in a file says, and why it cannot be used, "" if it can."""
    found = x509.Certificate("", 0.0)
    try:
        found = x509.read(certificate)
        x509.check_key(certificate, key)
        x509.check(certificate, authorities)
    except x509.BadCertificate as err:
        return found, str(err)
    return found, ""


def _started() -> float:
    """When glusterd was started, on the clock of files; 0 where it does not run."""
    words = ("show", "--property=ActiveEnterTimestamp", "--value", "--timestamp=unix", _GLUSTERD)
    found = re.fullmatch(r"@(\d+)", systemd.ctl(*words, timeout=20).stdout.strip())
    return float(found[1]) if found else 0.0


def request(name: str) -> str:
    """Make a new key, which is used only from `install` on; the request for its certificate."""
    key = os.path.join(DIRECTORIES[0], KEY + _NEW)
    private.write(key, x509.new_key(), mode=private.FILE_MODE, durable=True)
    return x509.request(key, name)


def install(certificate: str, authorities: str) -> None:
    """Put the certificate for the last request, its key and the authorities in their places.

    Raises `BadCertificate` if they do not belong together; nothing is changed then.
    """
    directory = DIRECTORIES[0]
    new = {name: os.path.join(directory, name + _NEW) for name in FILES}
    private.write(new[CERTIFICATE], certificate, mode=_PUBLIC_MODE, durable=True)
    private.write(new[AUTHORITIES], authorities, mode=_PUBLIC_MODE, durable=True)
    x509.check_key(new[CERTIFICATE], new[KEY])
    _await_valid(new[CERTIFICATE], new[AUTHORITIES])
    for name in (AUTHORITIES, KEY, CERTIFICATE):
        private.move(new[name], os.path.join(directory, name))
    private.sync_directory(directory)
    for other in _others():
        for name in FILES:
            private.link(os.path.join(directory, name), os.path.join(other, name))


def link() -> None:
    """Have each release of GlusterFS find the files that were put into one directory."""
    own = place()  # it is another one as soon as that has the certificate
    for path in _unlinked():
        private.link(os.path.join(own, os.path.basename(path)), path)


def _others() -> list[str]:
    """The directories where a release looks, besides that which has the files."""
    own = place()
    return [
        path for path in DIRECTORIES if os.path.isdir(path) and not os.path.samefile(path, own)
    ]


def _unlinked() -> list[str]:
    """What is missing in them."""
    paths = [os.path.join(other, name) for other in _others() for name in FILES]
    return [path for path in paths if not os.path.exists(path)]


def _await_valid(certificate: str, authorities: str) -> None:
    """The clock of who signed it may be a little ahead of ours."""
    end = time.monotonic() + CLOCK_SECONDS
    while True:
        try:
            return x509.check(certificate, authorities)
        except x509.BadCertificate as err:
            if "not yet valid" not in str(err) or time.monotonic() > end:
                raise
        time.sleep(_PAUSE)


def stop() -> None:
    """Stop glusterd with all that it has started on this node: bricks and self-heal daemon.

    Debian's unit has them in glusterd's control group; others leave them running.
    """
    systemd.ctl("stop", _GLUSTERD, timeout=UNIT_SECONDS)
    end = time.monotonic() + UNIT_SECONDS
    while left := _servers():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > end:
            raise GanetiGlusterError("processes of glusterd do not end: %s" % left)
        time.sleep(_PAUSE)


def start(*, management: bool | None = None) -> None:
    """Start glusterd, with TLS or without where that is said; its bricks start with it."""
    if management and not os.path.exists(SECURE_ACCESS):
        private.write(SECURE_ACCESS, "", durable=True)
    elif management is False:
        with suppress(FileNotFoundError):
            os.unlink(SECURE_ACCESS)
        private.sync_directory(os.path.dirname(SECURE_ACCESS))
    start_unit()


def start_unit() -> None:
    """Start glusterd where it does not run, however often it was started before.

    Its unit allows six starts an hour (StartLimitBurst of Debian's); none of these was a crash.
    """
    systemd.ctl("reset-failed", _GLUSTERD, timeout=UNIT_SECONDS, check=False)
    systemd.ctl("start", _GLUSTERD, timeout=UNIT_SECONDS)


def renew_clients() -> None:
    """Have the servers of this node's open images, and its agent, start again."""
    failed = fleet.renew_all()
    systemd.ctl("try-restart", "ganeti-gluster-agent.service", timeout=UNIT_SECONDS)
    if failed:
        raise GanetiGlusterError("image servers: %s" % "; ".join(failed))


def _servers() -> list[int]:
    return [
        pid
        for pid, words in command_lines()
        if os.path.basename(words[0]) == b"glusterfsd"
        or (
            os.path.basename(words[0]) == b"glusterfs"
            and any(words[at : at + 2] == SELF_HEAL for at in range(len(words)))
        )
    ]
