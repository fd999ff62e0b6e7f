"""`gnt-gluster image`: copies of images, to and from files, devices and streams."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ganeti import cli

from ganeti_gluster.client.options import CHECKSUM_OPT, LIMIT_OPT, bandwidth, confirm
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.copy import CopyResult, Options, Source, Stream, Target, copy
from ganeti_gluster.core.copy.files import ExistingFile, FileSource, NewFile, is_block_device
from ganeti_gluster.core.copy.images import ImageSource, NewImage, describe
from ganeti_gluster.core.copy.progress import Terminal
from ganeti_gluster.core.copy.signals import raised
from ganeti_gluster.core.copy.streams import StreamSource, StreamTarget
from ganeti_gluster.core.serve.hold import locked
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import CopyFailed, InvalidParameter
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

STREAM = "-"


def Export(opts: Any, args: list[str]) -> int:
    """Copy an image to a file, a block device or standard output."""
    bandwidth(opts)
    image, place = args
    with contextlib.ExitStack() as stack:
        if place == STREAM:
            target: Target = StreamTarget(sys.stdout.fileno(), "standard output")
        elif is_block_device(place):
            # The image is not locked for as long as the answer takes.
            with contextlib.ExitStack() as looking:
                name = _source(looking, opts, image).image.name
            device = os.stat(place).st_rdev
            confirm(opts, "Overwrite %s with %s?" % (place, name), otherwise="Nothing was copied")
            if not is_block_device(place) or os.stat(place).st_rdev != device:
                raise CopyFailed("%s is no longer the device that was confirmed" % place)
            target = ExistingFile(place)
        else:
            target = NewFile(place)
        source, check = _source(stack, opts, image)
        return _run(opts, source, target, check)


def Import(opts: Any, args: list[str]) -> int:
    """Copy a file, a block device or standard input to a new image."""
    bandwidth(opts)
    place, image = args
    with contextlib.ExitStack() as stack:
        if place == STREAM:
            source: Source | Stream = StreamSource(sys.stdin.fileno(), "standard input")
        else:
            source = stack.enter_context(FileSource(place))
        return _run(opts, source, _target(stack, opts, image))


def Copy(opts: Any, args: list[str]) -> int:
    """Copy an image to a new one, on the same volume or another."""
    bandwidth(opts)
    with contextlib.ExitStack() as stack:
        source, check = _source(stack, opts, args[0])
        return _run(opts, source, _target(stack, opts, args[1]), check)


class _Source(NamedTuple):
    """An image, and what raises if it may have changed since it was opened."""

    image: ImageSource
    check: Callable[[], None] | None


def _source(stack: contextlib.ExitStack, opts: Any, text: str) -> _Source:
    volume, path = _place(stack, opts, text)
    check = None
    try:
        if not opts.force:
            lock = locked(volume, path, node=node_names.own(), shared=True)
            check = stack.enter_context(lock).check
        source = stack.enter_context(ImageSource(volume, path))
    except FileNotFoundError as err:
        raise CopyFailed("%s does not exist" % describe(volume, path)) from err
    except OpenElsewhere as err:
        raise CopyFailed(
            "%s is open on a node and may change while it is copied" % describe(volume, path),
            hint="copy a snapshot of it, stop the instance, or use --force",
        ) from err
    return _Source(source, check)


def _target(stack: contextlib.ExitStack, opts: Any, text: str) -> NewImage:
    volume, path = _place(stack, opts, text)
    return NewImage(volume, path)


def _place(stack: contextlib.ExitStack, opts: Any, text: str) -> tuple[Volume, str]:
    """The volume and the path in `VOLUME/PATH`."""
    name, slash, path = text.partition("/")
    if not slash:
        raise InvalidParameter("image %r: expected VOLUME/PATH" % text)
    spec = VolumeSpec.from_params({"volume": name, "host": opts.host})
    path = names.image_path(path)
    return stack.enter_context(connect(spec)), path


def _run(
    opts: Any,
    source: Source | Stream,
    target: Target,
    check: Callable[[], None] | None = None,
) -> int:
    shown = Terminal()
    options = Options(
        progress=shown,
        checksum=opts.checksum,
        limit=bandwidth(opts),
        confirm=check,
    )
    try:
        with raised():
            result = copy(source, target, options)
    finally:
        shown.end()
    cli.ToStderr("%s", sentence(source.name, target.name, result))
    return os.EX_OK


def sentence(source: str, target: str, result: CopyResult) -> str:
    """What was done, in one line."""
    how = "sharing its blocks" if result.cloned else "%d MiB of data" % (result.data // MIB)
    compared = ", verified by reading back" if result.checksum else ""
    return "Copied %s to %s: %d MiB, %s, in %.1f s%s" % (
        *(source, target, result.size // MIB, how, result.seconds),
        compared,
    )


HOST_OPT = cli.cli_option(
    "--host",
    dest="host",
    default="127.0.0.1",
    metavar="SERVERS",
    help="Servers of the volume, separated by commas (default: this node)",
)
_OPTIONS = [HOST_OPT, CHECKSUM_OPT, LIMIT_OPT]
_TWO = [cli.ArgUnknown(min=2, max=2)]

COMMANDS = {
    "image export": (
        Export,
        _TWO,
        [cli.CONFIRM_OPT, cli.FORCE_OPT, *_OPTIONS],
        "[-f] [--checksum] [--bandwidth-limit=MIB] <volume>/<path> <file>|<device>|-",
        "Copy an image to a file, a block device or standard output",
    ),
    "image import": (
        Import,
        _TWO,
        _OPTIONS,
        "[--checksum] [--bandwidth-limit=MIB] <file>|<device>|- <volume>/<path>",
        "Copy a raw file, a block device or standard input to a new image",
    ),
    "image copy": (
        Copy,
        _TWO,
        [cli.FORCE_OPT, *_OPTIONS],
        "[-f] [--checksum] [--bandwidth-limit=MIB] <volume>/<path> <volume>/<path>",
        "Copy an image to a new one, on the same volume or another",
    ),
}
