"""Ganeti's side of the servers of images: for whom an image is opened, and who is refused.

Ganeti opens a disk for one node exclusively, or for both ends of a live migration, and
closes it; `ganeti_gluster.core.serve` does the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ganeti import errors

from ganeti_gluster import constants
from ganeti_gluster.core.serve import hold, opening
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import OpenElsewhere, node_number, work_number
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume


class ImageUnavailable(errors.BlockDeviceError, GanetiGlusterError):
    """An image cannot be used: an error of Ganeti's for the node daemon, of ours for others."""


def enabled(params: dict[str, Any]) -> bool:
    """Whether the administrator wants images to be locked."""
    value = names.locking(params.get(constants.PARAM_LOCKING, names.LOCKING_ON))
    return bool(value == names.LOCKING_ON)


def patience(params: dict[str, Any]) -> int:
    """Seconds that requests wait for storage that is unavailable."""
    return names.patience(params.get(constants.PARAM_PATIENCE, names.PATIENCE))


def own_number() -> int:
    """The number of this node's locks."""
    return node_number(node_names.own())


def open_image(params: dict[str, Any], path: str, *, exclusive: bool) -> None:
    """Have an image served on this node; raises `ImageUnavailable` if it cannot be."""
    try:
        opening.open_image(
            ImageServer(VolumeSpec.from_params(params), path),
            number=own_number(),
            work=work_number(node_names.own()),
            mode=EXCLUSIVE if exclusive else SHARED,
            locking=enabled(params),
            patience=patience(params),
            name_of=_node,
        )
    except OpenElsewhere as err:
        raise ImageUnavailable(refusal(err)) from err
    except GanetiGlusterError as err:
        raise ImageUnavailable(str(err)) from err


def refusal(err: OpenElsewhere) -> str:
    """Who has an image that is refused, and what to do about it."""
    if err.holder is None:
        return "Image %s was being opened by another node at the same time" % err.path
    nodes = node_names.every()
    said = "Image %s is open on %s (%s): " % (err.path, err.holder.name(nodes), err.holder.mode)
    if err.holder.works(nodes):
        return said + (
            "wait until it has finished, or stop it there (systemctl stop"
            " 'ganeti-gluster-snapshot-*'); if that node cannot be reached, take the image from"
            " it (gnt-gluster disk evict)"
        )
    return said + (
        "stop the instance there; if that node is dead or cannot be reached, mark it offline"
        " (gnt-node modify --offline=yes) and fail the instance over, or take the image from it"
        " (gnt-gluster disk evict)"
    )


@contextlib.contextmanager
def holding(params: dict[str, Any], volume: Volume, path: str) -> Iterator[None]:
    """Keep all others from an image in the block; `ImageUnavailable` where one has it.

    What this node had before it restarted is waited for.  An image that is gone is nobody's.
    """
    if not enabled(params):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                hold.locked(volume, path, node=node_names.own(), own_seconds=hold.OWN_SECONDS)
            )
        except FileNotFoundError:
            pass
        except OpenElsewhere as err:
            raise ImageUnavailable(refusal(err)) from err
        yield


def _node(number: int) -> str:
    matching = [node for node in node_names.every() if node_number(node) == number]
    return "node %s" % " or ".join(matching) if matching else "an unknown node (%d)" % number
