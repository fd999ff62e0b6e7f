"""Copying one device of Ganeti's to another, when an instance changes its template.

Ganeti's own way is a shell pipe of what `Export` and `Import` return, which only checks the exit
status of the last part: an export that fails counts as a success, and Ganeti then removes the old
disk.  So if one side is a gluster disk, the request itself copies it: in parallel, with holes
preserved, and with its progress in the node daemon's log.  The image is locked while it is
copied: Ganeti's own locks end with the job, which may die before the copy completes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ganeti_gluster.core.at_rest import alone, at_rest
from ganeti_gluster.core.copy import CopyResult, Options, Progress, Source, Target, copy
from ganeti_gluster.core.copy.files import ExistingFile, FileSource
from ganeti_gluster.core.copy.images import ExistingImage, ImageSource
from ganeti_gluster.core.copy.progress import EachLine
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import CopyFailed, TookTooLong
from ganeti_gluster.storage import node_names, one_writer

#: Ganeti's master waits 3600 s (`RPC_TMO_SLOW`), and then removes the new disk, even if a
#: process still writes to it.
SECONDS = 3480.0


def convert(source: Any, target: Any) -> CopyResult:
    """Copy the whole device `source` to the device `target`, one of which is ours.

    The target has just been created.  If the node daemon is restarted during the copy, for example
    by an upgrade of this package, nothing is lost: Ganeti's master waits for this process.  Raises
    a `GanetiGlusterError` or an `OSError`; Ganeti removes the target then.
    """
    log = EachLine(logging.info)
    deadline = time.monotonic() + SECONDS

    def progress(now: Progress) -> None:
        log(now)
        if time.monotonic() > deadline:
            raise TookTooLong(
                "after %d s only %d MiB are copied, which is too slow for Ganeti"
                % (SECONDS, now.done >> 20),
                hint="use gnt-backup export and import, which have no such limit",
            )

    checks: list[Callable[[], None]] = []

    def confirm() -> None:
        for check in checks:
            check()

    with contextlib.ExitStack() as stack:
        readable, writable = _source(source, stack, checks), _target(target, stack, checks)
        logging.info("Copying %s to %s", readable.name, writable.name)
        result = copy(readable, writable, Options(progress=progress, confirm=confirm))
    logging.info("Copied %d MiB in %.1f s", result.data >> 20, result.seconds)
    return result


def _source(device: Any, stack: contextlib.ExitStack, checks: list[Callable[[], None]]) -> Source:
    place = getattr(device, "place", None)
    if place is None:
        return stack.enter_context(FileSource(_path(device)))
    spec, path = place
    volume = stack.enter_context(connect(spec))
    with _named():
        kept = stack.enter_context(at_rest(volume, spec, path, node=node_names.own()))
    checks.append(kept.check)
    return stack.enter_context(ImageSource(volume, path))


def _target(device: Any, stack: contextlib.ExitStack, checks: list[Callable[[], None]]) -> Target:
    place = getattr(device, "place", None)
    if place is None:
        return ExistingFile(_path(device))
    spec, path = place
    volume = stack.enter_context(connect(spec))
    with _named():
        kept = stack.enter_context(alone(volume, spec, path, node=node_names.own()))
    checks.append(kept.check)
    return ExistingImage(volume, path)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Say who has an image that is refused."""
    try:
        yield
    except OpenElsewhere as err:
        raise CopyFailed(one_writer.refusal(err)) from err


def _path(device: Any) -> str:
    path: str | None = device.dev_path
    if not path and device.Attach():
        path = device.dev_path
    if not path:
        raise CopyFailed("disk %s has no path on this node" % (device.unique_id,))
    return path
