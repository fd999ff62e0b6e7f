"""systemd: have it start and end units, run a program in one of its own, and hear from us.

Of a transient unit the command is here, and what it may do.  systemd replaces `$NAME`,
`${NAME}` and `$$` in the words of a command, and `%` with the letter after it in a unit's
file; what we are given to run a program on may have both.  Measured with systemd 252 and
257: what systemd-run is given has no `%` replaced, neither the command nor a property.  It
makes a file of it in which `$` is quoted once more, so that after a `daemon-reload` a word
that was quoted by us is another one.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import socket
import time
from collections.abc import Sequence
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools import command

# What each unit may do is said here for all transient ones, as in debian/*.service for the
# others; doc/security.rst has what `systemd-analyze security` makes of it.
_CLOSED = (
    "UMask=0077",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
)
# Its image is at the server's socket: it needs no network, and has none.
_SERVED_BY_SOCKET = ("RestrictAddressFamilies=AF_UNIX", "PrivateNetwork=yes", "IPAddressDeny=any")

#: A worker of snapshots.  It needs Ganeti's files and QEMU's monitor, whoever owns them; a port
#: below 1024, which bricks require of a trusted client; and these directories: its own, those
#: that Ganeti's hypervisor creates whenever it is used, and libgfapi's logs.
SNAPSHOT_WORKER = (
    *_CLOSED,
    "PrivateDevices=yes",
    "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "SystemCallFilter=@system-service",
    "ReadWritePaths=-%s -%s -%s"
    % (constants.RUN_DIR, constants.IMAGE_SOCKET_DIR, constants.STATE_DIR),
    "ReadWritePaths=-/run/ganeti/kvm-hypervisor -/var/log/glusterfs",
)

#: The schedules of backups on the master: Ganeti's sockets and its SSH, with the keys of root; a
#: port below 1024 for volumes; and the logs of all of these.
BACKUP_SCHEDULES = (
    *_CLOSED,
    "ProtectHome=read-only",
    "PrivateDevices=yes",
    "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "SystemCallFilter=@system-service",
    "ReadWritePaths=-%s -%s" % (constants.RUN_DIR, constants.STATE_DIR),
    "ReadWritePaths=-/var/log/ganeti -/var/log/glusterfs",
    "Nice=5",
)

#: An exporter with FUSE and a loop device.  It mounts the one and creates the other, informs
#: the kernel that memory is written back through it, and opens a socket that belongs to
#: QEMU's user.  Its mount is in a private namespace, so that no `df` or backup of the node
#: can get stuck in it.
LOOP_EXPORTER = (
    *_CLOSED,
    *_SERVED_BY_SOCKET,
    "PrivateMounts=yes",
    "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_RESOURCE CAP_DAC_OVERRIDE",
    "SystemCallFilter=@system-service @mount",
    "DevicePolicy=closed",
    "DeviceAllow=/dev/fuse rw",
    "DeviceAllow=/dev/loop-control rw",
    "DeviceAllow=block-loop rw",
    "ReadWritePaths=%s" % constants.EXPORT_DIR,
)

#: An exporter by the kernel's nbd, qemu-nbd, which may set a device up as CAP_SYS_ADMIN
#: alone, opens a socket that is QEMU's user's, and makes one of its own in /run/lock.
NBD_EXPORTER = (
    *_CLOSED,
    *_SERVED_BY_SOCKET,
    "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE",
    "SystemCallFilter=@system-service",
    "DevicePolicy=closed",
    "DeviceAllow=block-nbd rw",
    "ReadWritePaths=-/run/lock",
)

JOURNAL_SECONDS = 10
CALENDAR_SECONDS = 10
#: The states of a unit that runs.
RUNNING = ("active", "reloading")

_RESTART = "Restart="
_NEVER = "Restart=no"
_PLAIN = r"[A-Za-z0-9_./:@%+=-]+"


def argv(*words: str) -> list[str]:
    """The command that has systemd do something with units."""
    return ["systemctl", *words]


def ctl(
    *words: str, timeout: float, run: command.Run | None = None, **options: bool
) -> command.CommandResult:
    """Run that command, for `timeout` seconds at most; `options` are those of `command.run`."""
    return (run or command.run)(argv(*words), timeout=timeout, **options)


def state(unit: str, *, timeout: float, run: command.Run | None = None) -> str:
    """The state of a unit, such as "active"; "inactive" where there is none."""
    done = ctl("show", "--property=ActiveState", "--value", unit, timeout=timeout, run=run)
    return done.stdout.strip()


def end(unit: str, *, timeout: float, run: command.Run | None = None) -> None:
    """Stop a unit, which may be gone or have failed; returns when nothing of it is left."""
    for verb in ("stop", "reset-failed"):
        ctl("--quiet", verb, unit, timeout=timeout, check=False, run=run)


def last_words(unit: str, *, run: command.Run) -> str:
    """The last line that the program in a unit wrote to the journal, "" if there is none."""
    journalctl = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1"]
    options: Any = {"timeout": JOURNAL_SECONDS, "check": False}
    try:
        run(["journalctl", "--sync"], **options)
        return run([*journalctl, "_SYSTEMD_UNIT=%s" % unit], **options).stdout.strip()
    except GanetiGlusterError:  # the first error counts
        return ""


# The name of the messages in which systemd says that a unit's process has ended.
_PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"


def last_exit(unit: str, *, run: command.Run) -> str:
    """How the last process of a unit ended: "exit status 1"; "" if the journal does not tell."""
    words = ["journalctl", "--quiet", "--no-pager", "--output=json", "--lines=1"]
    try:
        done = run(
            [*words, "MESSAGE_ID=%s" % _PROCESS_EXIT, "UNIT=%s" % unit],
            timeout=JOURNAL_SECONDS,
            check=False,
        )
        entry = json.loads(done.stdout.strip() or "{}")
    except (GanetiGlusterError, ValueError):  # it is only explained less well
        return ""
    code, status = str(entry.get("EXIT_CODE", "")), str(entry.get("EXIT_STATUS", ""))
    if not status:
        return ""
    return "exit status %s" % status if code == "exited" else "signal SIG%s" % status


def mount_unit(directory: str, *, timeout: float) -> str:
    """The name of the unit that mounts a file system at a directory."""
    escape = ["systemd-escape", "--path", "--suffix=mount", directory]
    return command.run(escape, timeout=timeout).stdout.strip()


def check_calendar(expression: str) -> None:
    """Raise a `GanetiGlusterError` for what is no calendar expression (systemd.time(7))."""
    next_elapse(expression, 0.0)


def next_elapse(expression: str, moment: float, *, run: command.Run | None = None) -> float | None:
    """The first moment after this one that a calendar expression means; None if there is none."""
    words = ["systemd-analyze", "calendar", "--base-time=@%d" % moment, "--", expression]
    for line in (run or command.run)(words, timeout=CALENDAR_SECONDS).stdout.splitlines():
        # The local time comes first, unless that is UTC.
        name, _, value = line.strip().partition(": ")
        if name in ("Next elapse", "(in UTC)") and value.endswith(" UTC"):
            return float(calendar.timegm(time.strptime(value, "%a %Y-%m-%d %H:%M:%S UTC")))
    return None


def notify(status: str) -> None:
    """Report the state of this process to systemd, such as `READY=1` (sd_notify(3)).

    No-op if systemd does not listen.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(status.encode(), address)


def run_argv(
    name: str,
    description: str,
    program: Sequence[str],
    *,
    properties: Sequence[str] = (),
    options: Sequence[str] = (),
) -> list[str]:
    """The command that has systemd run `program` in the unit `name`, word by word as given.

    `options` are systemd-run's own.  Raises `InvalidParameter` for a `$` where systemd
    starts the program again by itself: see above.
    """
    again = any(value.startswith(_RESTART) and value != _NEVER for value in properties)
    if again and any("$" in word for word in program):
        raise InvalidParameter("a unit that is started again can have no '$': %s" % list(program))
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        *options,
        "--unit=%s" % name,
        "--description=%s" % description,
        *("--property=%s" % value for value in properties),
        "--",
        *(_literal(word) for word in program),
    ]


def command_property(name: str, program: Sequence[str]) -> str:
    """A property with a command, for example ExecStopPost, for `run_argv`."""
    return "%s=%s" % (name, " ".join(_quoted(_literal(word)) for word in program))


def path_property(name: str, path: str) -> str:
    """A property that names a path, which may be missing, for `run_argv`."""
    return "%s=%s" % (name, _quoted("-" + path))


def file_value(text: str) -> str:
    """A path as it goes into a file of a unit, where it is no command."""
    return text.replace("%", "%%")


def _literal(word: str) -> str:
    return word.replace("$", "$$")


def _quoted(word: str) -> str:
    if re.fullmatch(_PLAIN, word):
        return word
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')
