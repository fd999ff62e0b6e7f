"""What may be called what: every name, path and number is checked here first.

Each function returns the value in its normal form, or raises `InvalidParameter`
with one sentence; nothing is touched before.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from typing import NoReturn

from ganeti_gluster.errors import InvalidParameter

#: Bytes of one component of a path: NAME_MAX of the bricks' file systems.
COMPONENT_BYTES = 255
#: Bytes of a whole path; PATH_MAX is 4096, and the bricks put their own
#: directory in front.
PATH_BYTES = 1024
#: Characters of a volume's name; glusterd makes a directory of that name.
VOLUME_NAME_LENGTH = 255
#: Characters of a host name (RFC 1123).
HOST_LENGTH = 253
#: The largest image in MiB: QEMU's longest block device, 2^63 - 2^30 bytes.
SIZE_MIB = (1 << 43) - 1024
#: glusterd's port, where none is given.
DEFAULT_PORT = 24007

PREALLOCATION_OFF = "off"
PREALLOCATION_FALLOC = "falloc"
PREALLOCATION_FULL = "full"
PREALLOCATIONS = (PREALLOCATION_OFF, PREALLOCATION_FALLOC, PREALLOCATION_FULL)
ACCESS_MODES = ("userspace", "kernelspace")
LOCKING_ON = "on"
LOCKING_OFF = "off"
#: Seconds: longer than a node takes to start.
PATIENCE = 900

#: What is between an image's path and the name of its snapshot.
SNAPSHOT_MARK = ".snap."
#: What is added to an image's path for the one that is to replace it, and for the old one.
RESTORED, REPLACED = ".restored", ".replaced"
#: The snapshot that Ganeti asks for without a name, to make a backup of it.
BACKUP_SNAPSHOT = "ganeti-backup"

#: What the gluster command refuses as a volume's name.
RESERVED_VOLUME_NAMES = frozenset(
    ("all", "end-volume", "help", "option", "subvolumes", "type", "volume", "volume_not_in_ring")
)

# Characters of a volume's name in a key, for people: a socket's path has 107 bytes at most.
_KEY_NAME = 32

# Each request of the node daemon is a process of its own, and checks a volume's name.
_VOLUME_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
# Compiled when they are needed: most of Ganeti's processes check none of these.
_SNAPSHOT_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_HOST_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def image_path(path: object) -> str:
    """An image's path on its volume: relative, without `..`, `.` or empty parts."""
    what = "image path"
    text = _text(what, path)
    if text.startswith("/"):
        _refuse(what, text, "it must be relative to the volume's root")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse(what, text, "it is not valid Unicode")
    if size > PATH_BYTES:
        _refuse(what, text, "it is longer than %d bytes" % PATH_BYTES)
    for part in text.split("/"):
        if part in ("", ".", ".."):
            _refuse(what, text, "it has an empty, '.' or '..' component")
        if len(part.encode()) > COMPONENT_BYTES:
            _refuse(what, text, "a component is longer than %d bytes" % COMPONENT_BYTES)
    return text


def image_name(name: object) -> str:
    """An image's name: one component of a path, which is not hidden."""
    what = "image name"
    text = _text(what, name)
    if "/" in text or text.startswith("."):
        _refuse(what, text, "it must not begin with '.', nor contain '/'")
    return image_path(text)


def snapshot_name(name: object, what: str = "snapshot name") -> str:
    """A snapshot's name: letters, digits, `_`, `-` and (not first) `.`."""
    text = _text(what, name)
    if not re.fullmatch(_SNAPSHOT_NAME, text):
        _refuse(what, text, "only letters, digits, '_', '-' and (not first) '.' are allowed")
    return text


def snapshot_path(image: str, name: str) -> str:
    """The path of an image's snapshot: beside it, and in its size and format."""
    return image_path("%s%s%s" % (image_path(image), SNAPSHOT_MARK, snapshot_name(name)))


def split_snapshot_path(path: str) -> tuple[str, str] | None:
    """The image's path and the name in a snapshot's path, None for any other path."""
    image, mark, name = path.rpartition(SNAPSHOT_MARK)
    if not mark or not image or not re.fullmatch(_SNAPSHOT_NAME, name):
        return None
    return image, name


def replaced_image(path: str) -> str | None:
    """The image to whose place the one at `path` comes or came from, None for any other path."""
    for mark in (RESTORED, REPLACED):
        if path.endswith(mark):
            return path.removesuffix(mark)
    return None


def volume_name(name: object) -> str:
    """A volume's name by glusterd's rules."""
    what = "volume name"
    text = _text(what, name)
    if not _VOLUME_NAME.fullmatch(text):
        _refuse(what, text, "only letters, digits, '_' and (not first) '-' are allowed")
    if len(text) > VOLUME_NAME_LENGTH:
        _refuse(what, text, "it is longer than %d characters" % VOLUME_NAME_LENGTH)
    if text in RESERVED_VOLUME_NAMES:
        _refuse(what, text, "the word is reserved by GlusterFS")
    return text


def host(name: object) -> str:
    """A host name, an IPv4 or an IPv6 address; the last without its brackets."""
    what = "host"
    text = _text(what, name)
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            _refuse(what, name, "only an IPv6 address goes in brackets")
    if ":" in text:
        if not _is_address(socket.AF_INET6, text):
            _refuse(what, name, "it is not an IPv6 address")
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    labels = text.split(".")
    if labels[-1].isdecimal():
        if not _is_address(socket.AF_INET, text):
            _refuse(what, name, "it is not an IPv4 address")
    elif len(text) > HOST_LENGTH or not all(re.fullmatch(_HOST_LABEL, label) for label in labels):
        _refuse(what, name, "it is neither a host name nor an address")
    return text


def server(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return "%s:%d" % ("[%s]" % host if ":" in host else host, port)


def unit_key(volume: str, path: str) -> str:
    """A name for an image that is safe in the names of files and of systemd's units."""
    whole = "%s/%s" % (volume, path)
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()
    return "%s-%s" % (volume[:_KEY_NAME], digest[:16])


def port(value: object) -> int:
    """A TCP port, 1 to 65535, as a number or its decimal text."""
    return _number("port", value, 65535)


def size_mib(value: object) -> int:
    """An image's size in MiB: a positive whole number QEMU can still address."""
    return _number("size in MiB", value, SIZE_MIB)


def preallocation(value: object) -> str:
    """`off`, `falloc` or `full`."""
    return _one_of("preallocation", value, PREALLOCATIONS)


def access(value: object) -> str:
    """`userspace` or `kernelspace`."""
    return _one_of("access", value, ACCESS_MODES)


def locking(value: object) -> str:
    """`on` or `off`."""
    return _one_of("locking", value, (LOCKING_ON, LOCKING_OFF))


def patience(value: object) -> int:
    """Seconds that requests wait for storage that is unavailable, 0 to a day."""
    return _number("patience in seconds", value, 86400, smallest=0)


def directory(value: object) -> str:
    """A directory's path on a node, absolute and in normal form; not the root."""
    what = "directory"
    text = _absolute(what, value)
    if text == "/":
        _refuse(what, text, "it is the root of the file system")
    return text


def device(value: object) -> str:
    """A device's path on a node: below /dev, and in normal form."""
    what = "device"
    text = _absolute(what, value)
    if not text.startswith("/dev/"):
        _refuse(what, text, "it is not below /dev")
    return text


def uuid(value: object) -> str:
    """A UUID as glusterd writes it."""
    what = "UUID"
    text = _text(what, value)
    if not re.fullmatch(_UUID, text):
        _refuse(what, text, "it is not 32 hexadecimal digits in five groups")
    return text


def _absolute(what: str, value: object) -> str:
    text = _text(what, value)
    # Two slashes at the beginning are normal for POSIX.
    if not text.startswith("/") or text.startswith("//") or os.path.normpath(text) != text:
        _refuse(what, text, "it is not an absolute path in normal form")
    if len(text.encode("utf-8", "surrogateescape")) > PATH_BYTES:
        _refuse(what, text, "it is longer than %d bytes" % PATH_BYTES)
    return text


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(what, value, "it is not text")
    if not value:
        _refuse(what, value, "it is empty")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
        _refuse(what, value, "it has control characters")
    return value


def _number(what: str, value: object, largest: int, *, smallest: int = 1) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and _is_digits(value):
        number = int(value)
    if number is None:
        _refuse(what, value, "it is not a whole number")
    if not smallest <= number <= largest:
        _refuse(what, value, "it is not between %d and %d" % (smallest, largest))
    return number


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20


def _one_of(what: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        _refuse(what, value, "it is not one of %s" % ", ".join(choices))
    return value


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True


def _refuse(what: str, value: object, why: str) -> NoReturn:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    raise InvalidParameter("%s %s: %s" % (what, shown, why))
