"""What writes to an image on this node: its QEMU, and the exporter of its block device."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

from ganeti_gluster.export import unit
from ganeti_gluster.processes import command_lines

SIGNALS = {"STOP": signal.SIGSTOP, "CONT": signal.SIGCONT, "KILL": signal.SIGKILL}
_PROGRAMS = (b"qemu-system-", b"qemu-storage-daemon", b"qemu-nbd", b"kvm")
# This package's own, which Python runs.
_EXPORTER = [b"-m", unit.EXPORTER.encode()]
_SECONDS = 30


def send(name: str, path: str, disk: str) -> None:
    """Send a signal (STOP, CONT, KILL) to all that have the image open for writing.

    `disk` is the uuid of Ganeti's disk, or empty.  A stopped process sends nothing
    to the volume, what it had begun included.  Failures are logged.
    """
    for pid in processes(path):
        try:
            os.kill(pid, SIGNALS[name])
        except ProcessLookupError:
            continue
        logging.warning("SIG%s sent to process %d, which has image %s", name, pid, path)
    if disk:
        _send_by_uuid(name, disk)


def _send_by_uuid(name: str, disk: str) -> None:
    # A disk that was added to a running QEMU is not on its command line.
    argv = [sys.executable, "-m", "ganeti_gluster.storage.signal_qemu", name, disk]
    try:
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
    except subprocess.CalledProcessError as err:
        logging.error("%s: %s", " ".join(argv), err.stderr.decode(errors="replace"))
    except (OSError, subprocess.TimeoutExpired) as err:
        logging.error("%s: %s", " ".join(argv), err)


def processes(path: str) -> Iterator[int]:
    """The processes of QEMU, and our exporter, with the image on their command line."""
    for pid, arguments in command_lines():
        if has_image(arguments, path):
            yield pid


def has_image(arguments: list[bytes], path: str) -> bool:
    """Whether a command line is QEMU's or our exporter's, with the image at this path.

    QEMU is given a URI, or the path by itself in a structure.
    """
    is_qemu = os.path.basename(arguments[0]).startswith(_PROGRAMS)
    if not is_qemu and arguments[1:3] != _EXPORTER:
        return False
    wanted = b"|".join(re.escape(text.encode()) for text in {path, quote(path)})
    image = re.compile(rb'(?:^|[/=" ])(?:%s)(?:$|[,?" ])' % wanted)
    return any(image.search(argument) for argument in arguments[1:])
