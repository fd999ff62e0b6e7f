"""The actions of the provider, each by the core that the native template has, too."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from ganeti_gluster import image
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.export import Export
from ganeti_gluster.extstorage import node
from ganeti_gluster.extstorage.request import Request
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.gfapi.library import load
from ganeti_gluster.volume import connect, live_server, reachable_by_qemu

#: Exit codes.  Ganeti takes each but 0 for a failure and shows what was said.
FAILED = 1
INVALID = 2

#: How long an image grown by another client may show its old size here.
SHOW_SECONDS = 10.0


def main(action: str, environ: Mapping[str, str]) -> int:
    """Do what Ganeti's script `action` is asked for, and return its exit code."""
    name = environ.get("VOL_NAME", "")
    try:
        ACTIONS[action](Request.from_environ(environ))
    except (GanetiGlusterError, OSError) as err:
        _say(action, name, err)
        if action == "attach":  # parameters that are wrong are no reason either, see there
            _answer("", "")
            return 0
        return INVALID if isinstance(err, InvalidParameter) else FAILED
    return 0


def _say(action: str, name: str, message: object) -> None:
    print("gluster %s %s: %s" % (action, name, message), file=sys.stderr)


def verify(request: Request) -> None:
    """Check the parameters, and nothing else."""
    request.check_parameters()


def create(request: Request) -> None:
    """Make the image; nothing of it is left where that fails."""
    request.check_parameters()
    _check_startable(request)
    with connect(request.spec) as volume:
        image.create(volume, request.path, request.size, preallocation=request.preallocation)


def remove(request: Request) -> None:
    """Remove the image; one that is gone already is no error."""
    detach(request)
    with connect(request.spec) as volume:
        image.remove(volume, request.path)


def attach(request: Request) -> None:
    """Say how the image is reached: a device of the kernel, and a URI for QEMU.

    One of them, or both for a snapshot, which no virtual machine runs on.  Nothing
    is said of an image that is not there.  For Ganeti an attachment that fails is
    a disk that does not exist: it would forget an image whose volume cannot be
    reached for the moment.  So that is told on stderr alone, and the next action
    fails with the reason.
    """
    device, uri = "", ""
    try:
        with connect(request.spec) as volume:
            try:
                found = image.stat(volume, request.path)
            except FileNotFoundError:
                return
        if not request.in_userspace:
            device = _export(request).start(found.size)
        uri = _uri(request)
    except (GanetiGlusterError, OSError) as err:
        _say("attach", request.name, err)
    if device and request.access != "userspace":
        print(device)
    else:
        _answer(device, uri)


def _answer(device: str, uri: str) -> None:
    # An empty URI is no device either, but makes a disk that Ganeti keeps.
    print("%s\nkvm:%s" % (device, uri))


def _uri(request: Request) -> str:
    asked = reachable_by_qemu(request.spec, glusterfs_11=load().is_11)
    return request.spec.qemu_uri(request.path, live_server(asked))


def detach(request: Request) -> None:
    """Take the kernel's device away, and the lock; needs no volume where there is none."""
    _export(request).stop()
    node.unlock(request)


def open_(request: Request) -> None:
    """Lock the image for this node, and make sure that it can be used here.

    For this node alone or, during a migration, for both ends of it.
    """
    _check_startable(request)
    with connect(request.spec) as volume:
        found = _stat(volume, request)
    if request.locking and not request.is_snapshot:
        node.lock(request)
    if not request.in_userspace:
        _export(request).start(found.size)


def close(request: Request) -> None:
    """Give the lock back; the device stays until `detach`, which always follows."""
    node.unlock(request)


def grow(request: Request) -> None:
    """Grow the image to the new size, by the program that has it open if one has."""
    size = request.new_size
    with connect(request.spec) as volume:
        image.grow(volume, request.path, size, preallocation=request.preallocation, dry_run=True)
        if node.grow_running(request.uuid, size):
            _wait_for_size(volume, request, size)
        elif _export(request).grow(size):
            node.tell_size(request.uuid, size)
            _wait_for_size(volume, request, size)
        else:
            image.grow(volume, request.path, size, preallocation=request.preallocation)


def _wait_for_size(volume: Volume, request: Request, size: int) -> None:
    deadline = time.monotonic() + SHOW_SECONDS
    while (found := image.stat(volume, request.path).size) < size:
        if time.monotonic() > deadline:
            raise GanetiGlusterError(
                "it has %d bytes, although its user grew it to %d" % (found, size)
            )
        time.sleep(0.1)


def setinfo(request: Request) -> None:
    """Keep Ganeti's text with the image."""
    with connect(request.spec) as volume:
        image.set_info(volume, request.path, request.metadata)


def snapshot(request: Request) -> None:
    """Copy the image to the snapshot's name; that of a running instance by its QEMU.

    A snapshot that is there is what an earlier backup left, and is replaced, as
    Ganeti does with LVM's.
    """
    target = request.snapshot
    Export(request.spec, target).stop()
    with connect(request.spec) as volume:
        _stat(volume, request)
        image.remove(volume, target)
        if not node.copy_running(request, target):
            # What was written to the device is safe on the volume afterwards.
            _export(request).stop()
            node.copy_in_time(volume, request.path, target)


def _stat(volume: Volume, request: Request) -> image.ImageInfo:
    try:
        return image.stat(volume, request.path)
    except FileNotFoundError as err:
        raise GanetiGlusterError(
            "image %s of volume %s does not exist" % (request.path, request.spec.name)
        ) from err


def _export(request: Request) -> Export:
    return Export(request.spec, request.path)


def _check_startable(request: Request) -> None:
    """Refuse an access by which this node's Ganeti could start no virtual machine."""
    if request.in_userspace and not node.starts_in_userspace():
        raise InvalidParameter(
            "access=userspace: this node's Ganeti hands QEMU a URI of gluster in a way that"
            " QEMU refuses",
            hint="give access=kernelspace with the disk, or switch this package's plugin on"
            " (gnt-gluster plugin status), which mends that",
        )


ACTIONS: dict[str, Callable[[Request], None]] = {
    "create": create,
    "remove": remove,
    "attach": attach,
    "detach": detach,
    "open": open_,
    "close": close,
    "grow": grow,
    "setinfo": setinfo,
    "snapshot": snapshot,
    "verify": verify,
}
