"""systemd's signals that units have changed, by libsystemd's D-Bus.

The change itself is not read here; the caller asks systemd for it.  Nothing here waits for an
answer, neither from systemd nor from the bus.
"""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Iterable
from typing import Any

_LIBRARY = "libsystemd.so.0"
_BUS = (b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")
_SYSTEMD = (
    b"org.freedesktop.systemd1",
    b"/org/freedesktop/systemd1",
    b"org.freedesktop.systemd1.Manager",
)
_MATCH = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1%s'"
#: Of the manager: a unit's file has been enabled or the like, or all are read again.
_OF_MANAGER = ("UnitFilesChanged", "Reloading")


def object_path(unit: str) -> str:
    """A unit's path below systemd's own, as sd_bus_path_encode(3) makes it."""
    letters = (
        letter if (letter.isascii() and letter.isalpha()) or (letter.isdigit() and place) else None
        for place, letter in enumerate(unit)
    )
    return "/unit/" + "".join(
        kept or "_%02x" % ord(letter) for kept, letter in zip(letters, unit, strict=True)
    )


def matches(units: Iterable[str]) -> list[str]:
    """The rules for the signals about changes of these units (as "x.service")."""
    return [
        *((_MATCH % "") + ",member='%s'" % member for member in _OF_MANAGER),
        *(_MATCH % object_path(unit) for unit in units),
    ]


class Signals:
    """A connection to the system's bus on which signals of units arrive, once it is open."""

    def __init__(self, units: Iterable[str]) -> None:
        self._rules = matches(units)
        self._bus = ctypes.c_void_p()
        self._library: Any = None

    def open(self) -> None:
        """Connect, and ask for the signals; raises OSError."""
        self._library = ctypes.CDLL(_LIBRARY)
        self._try(self._library.sd_bus_open_system(ctypes.byref(self._bus)))
        for rule in self._rules:
            self._call(_BUS, b"AddMatch", b"s", rule.encode())
        # systemd only sends signals if somebody has subscribed.
        self._call(_SYSTEMD, b"Subscribe", b"")

    def close(self) -> None:
        """End the connection; no-op if there is none."""
        if self._bus.value is not None:
            self._library.sd_bus_close(self._bus)
            self._library.sd_bus_unref(self._bus)
            self._bus = ctypes.c_void_p()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return int(self._library.sd_bus_get_fd(self._bus))

    @property
    def events(self) -> int:
        """What to wait for on it, as for poll(2)."""
        return max(int(self._library.sd_bus_get_events(self._bus)), 0) or select.POLLIN

    def heard(self) -> bool:
        """Take all that has arrived, and say whether there was any; raises OSError at an end."""
        found = False
        while True:
            message = ctypes.c_void_p()
            more = self._library.sd_bus_process(self._bus, ctypes.byref(message))
            if message.value is not None:
                found = True
                self._library.sd_bus_message_unref(message)
            if self._try(more) == 0:
                return found

    def _call(self, where: tuple[bytes, bytes, bytes], member: bytes, *arguments: bytes) -> None:
        self._try(
            self._library.sd_bus_call_method_async(
                self._bus, None, *where, member, None, None, *arguments
            )
        )

    def _try(self, code: int) -> int:
        if code < 0:
            raise OSError(-code, "the system's bus: %s" % os.strerror(-code))
        return code
