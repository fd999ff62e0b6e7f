"""A correction of the node daemon itself (`ganeti.server.noded`): how a request locks its memory.

The daemon locks its memory so that it answers on a node that swaps.  The child that it forks for
each request locks its own memory again, which makes the kernel touch, and so copy, every page of
the daemon.  This took 20 of the 65 ms for creating an image (Debian 13, two cores), and more for
libgfapi's threads.  The daemon's pages stay in memory while it runs, so the child locks its pages
when it uses them.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ganeti_gluster.errors import LibraryMissing, PatchRefused
from ganeti_gluster.tools.gfapi.library import preload
from ganeti_gluster.tools.gfapi.memory import lock_all_as_used

# What the original does, and all that it does.
_CALLS = {"utils", "Mlockall", "http", "server", "HttpServerRequestExecutor", "__init__"}


def extend(module: Any) -> None:
    """Let `MlockallRequestExecutor` lock each page when it is used."""
    _preload()
    executor: Any = getattr(module, "MlockallRequestExecutor", None)
    original = vars(executor).get("__init__") if executor is not None else None
    if original is None or set(original.__code__.co_names) != _CALLS:
        raise PatchRefused("noded.MlockallRequestExecutor is not as expected")

    def serve(self: Any, *args: Any, **kwargs: Any) -> None:
        if not lock_all_as_used():
            module.utils.Mlockall()
        module.http.server.HttpServerRequestExecutor.__init__(self, *args, **kwargs)

    executor.__init__ = serve


def _preload() -> None:
    """Load all that is loaded late, so that no child has to, nor does so after an upgrade."""
    import ganeti_gluster.core.copy.program
    import ganeti_gluster.core.health
    import ganeti_gluster.core.whole
    import ganeti_gluster.storage.convert
    import ganeti_gluster.storage.one_writer
    import ganeti_gluster.storage.qmp
    import ganeti_gluster.storage.snapshot
    import ganeti_gluster.with_path  # noqa: F401

    with contextlib.suppress(LibraryMissing):  # those who need it say so
        preload()
