"""The actions of the provider, based on the same core as the native template."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from ganeti_gluster.core import image, in_use
from ganeti_gluster.core.in_use import ImageInUse
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter, in_words
from ganeti_gluster.extstorage import device, node
from ganeti_gluster.extstorage.request import USERSPACE, ExtStorageRequest
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

#: Exit codes.  Ganeti takes each but 0 for a failure and shows what was said.
FAILED = 1
INVALID = 2


def main(action: str, environ: Mapping[str, str]) -> int:
    """Do what Ganeti's script `action` is asked for, and return its exit code."""
    name = environ.get("VOL_NAME", "")
    try:
        ACTIONS[action](ExtStorageRequest.from_environ(environ))
    except (GanetiGlusterError, OSError) as err:
        _say(action, name, in_words(err))
        if action == "attach":  # parameters that are wrong are no reason either, see there
            _answer("", "")
            return 0
        return INVALID if isinstance(err, InvalidParameter) else FAILED
    return 0


def _say(action: str, name: str, message: object) -> None:
    print("gluster %s %s: %s" % (action, name, message), file=sys.stderr)


def create(request: ExtStorageRequest) -> None:
    """Make the image; nothing of it is left where that fails."""
    request.check_parameters()
    _check_startable(request)
    with connect(request.spec) as volume:
        image.create(volume, request.path, request.size, preallocation=request.preallocation)


def remove(request: ExtStorageRequest) -> None:
    """Remove the image; one that is gone already is no error."""
    detach(request)
    with connect(request.spec) as volume, node.holding(request, volume):
        image.remove(volume, request.path)


def attach(request: ExtStorageRequest) -> None:
    """Print how the image is accessed: a kernel device, or a URI for QEMU.

    The device can be used while the image is open; a snapshot, on which no virtual machine
    runs, is opened for it.  Nothing is printed for an image that does not exist.  Ganeti takes
    a failed attachment for a disk that does not exist, and would forget an image whose volume
    is unreachable for a moment.  So that is only reported on stderr, and the next action
    fails with the reason.
    """
    path, uri = "", ""
    used = _in_use(request)
    try:
        if used.size() is None:
            with connect(request.spec) as volume:
                try:
                    image.stat(volume, request.path)
                except FileNotFoundError:
                    return
            if request.is_snapshot:
                node.open_image(request)
        if request.access == USERSPACE:  # Ganeti wants a URI of a snapshot as well then
            uri = used.uri
        if not request.in_userspace:
            shown = used.show_device() if used.size() is not None else None
            path = device.show(used.server.key, shown)
    except (GanetiGlusterError, OSError) as err:
        _say("attach", request.name, in_words(err))
    if path and not uri:
        print(path)
    else:
        _answer(path, uri)


def _answer(path: str, uri: str) -> None:
    # An empty URI is no device either, but makes a disk that Ganeti keeps.
    print("%s\nkvm:%s" % (path, uri))


def detach(request: ExtStorageRequest) -> None:
    """End the image's use; needs no volume where there is none."""
    _end(_in_use(request))


def _end(used: ImageInUse) -> None:
    used.end()
    device.forget(used.server.key)


def open_(request: ExtStorageRequest) -> None:
    """Have the image served on this node, and give it its device where it has one.

    For this node alone or, during a migration, for both ends of it.
    """
    _check_startable(request)
    node.open_image(request)
    if not request.in_userspace:
        used = _in_use(request)
        device.show(used.server.key, used.show_device())


def grow(request: ExtStorageRequest) -> None:
    """Grow the image to the new size, by its server where it is open here."""
    size = request.new_size
    used = _in_use(request)
    now = used.size()
    if now is not None and now > size:
        raise InvalidParameter(
            "image %s has %d bytes and cannot be made smaller (%d)" % (request.path, now, size)
        )

    def on_volume() -> None:
        with connect(request.spec) as volume:
            image.grow(volume, request.path, size, preallocation=request.preallocation)

    in_use.grow(
        used,
        size,
        preallocated=request.preallocation != names.PREALLOCATION_OFF,
        on_volume=on_volume,
        tell=lambda size: node.tell_size(request.uuid, size),
    )


def setinfo(request: ExtStorageRequest) -> None:
    """Keep Ganeti's text with the image."""
    with connect(request.spec) as volume:
        image.set_info(volume, request.path, request.metadata)


def snapshot(request: ExtStorageRequest) -> None:
    """Copy the image to the snapshot's name; that of a running instance by its QEMU.

    A snapshot that is there is what an earlier backup left, and is replaced, as
    Ganeti does with LVM's.
    """
    target = request.snapshot
    _end(ImageInUse(request.spec, target, request.patience))
    with connect(request.spec) as volume:
        _stat(volume, request)
        node.remove_snapshot(volume, target)
        if not node.copy_running(request, target):
            node.copy_in_time(volume, request, target)


def _stat(volume: Volume, request: ExtStorageRequest) -> image.ImageInfo:
    try:
        return image.stat(volume, request.path)
    except FileNotFoundError as err:
        raise GanetiGlusterError(
            "image %s of volume %s does not exist" % (request.path, request.spec.name)
        ) from err


def _in_use(request: ExtStorageRequest) -> ImageInUse:
    return ImageInUse(request.spec, request.path, request.patience)


def _check_startable(request: ExtStorageRequest) -> None:
    """Refuse an access by which this node's Ganeti could start no virtual machine."""
    if request.in_userspace and not node.starts_in_userspace():
        raise InvalidParameter(
            "access=userspace: Ganeti on this node does not support the URI of an image server",
            hint="set access=kernelspace for the disk, or enable the plugin of this package,"
            " which adds that support (gnt-gluster plugin status)",
        )


ACTIONS: dict[str, Callable[[ExtStorageRequest], None]] = {
    "create": create,
    "remove": remove,
    "attach": attach,
    "detach": detach,
    "open": open_,
    "close": detach,  # which always follows
    "grow": grow,
    "setinfo": setinfo,
    "snapshot": snapshot,
    "verify": ExtStorageRequest.check_parameters,
}
