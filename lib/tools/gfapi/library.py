"""Loading libgfapi, once per process and only when it is needed.

Of the gfapi package (libgfapi-python 1.2) only `api.py` is executed: importing
the package fails on Python 3.10 and later.  It is found wherever it is
installed, else in the private copy beside this package (`_vendor`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ganeti_gluster.errors import LibraryMissing
from ganeti_gluster.tools.gfapi.prototypes import PROTOTYPES

if TYPE_CHECKING:
    from ganeti_gluster.tools.gfapi.preload import Preloaded

SONAME = "libgfapi.so.0"
API_PATH = Path("gluster", "gfapi", "api.py")
VENDOR = Path(__file__).resolve().parents[2] / "_vendor"


class Library:
    """The loaded library: its functions, and the structures of the gfapi package."""

    def __init__(self, api: ModuleType, first: ctypes.CDLL) -> None:
        self.handles: list[ctypes.CDLL] = [first, api.client]
        self.Stat: type[ctypes.Structure] = api.Stat
        self.Statvfs: type[ctypes.Structure] = api.Statvfs
        self.Dirent: type[ctypes.Structure] = api.Dirent
        self.functions = {name: _declare(api.client, name) for name in PROTOTYPES}
        #: GlusterFS 11 or later: it has the *at functions.
        self.is_11 = hasattr(api.client, "glfs_openat")

    def call(self, name: str, path: str | None, *args: Any) -> int:
        """Call the C function `name`; a failure is an `OSError` with errno and `path`.

        Failed means -1, or NULL where the function returns a pointer.  This is
        the only place where libgfapi's errors become Python's.
        """
        ctypes.set_errno(0)
        result: int | None = self.functions[name](*args)
        if result is None or result == -1:
            raise_errno(ctypes.get_errno(), path)
        return result


def raise_errno(code: int, path: str | None) -> NoReturn:
    """Raise the `OSError` for `code`; libgfapi sometimes fails without one (EIO)."""
    code = code or errno.EIO
    raise OSError(code, os.strerror(code), path)


_lock = threading.Lock()
_library: Library | None = None

# What `preload` loaded, until a child of this process has looked whether it is current.
_preloaded: Preloaded | None = None
_inherited = False


def load() -> Library:
    """The library, loaded by the first call; raises `LibraryMissing`."""
    global _inherited, _library
    with _lock:
        if _inherited and _preloaded is not None and not _preloaded.current():
            _library = None
            if not _preloaded.unload():
                raise LibraryMissing(
                    "GlusterFS was upgraded while this daemon was running",
                    hint="restart the daemon",
                )
        _inherited = False
        if _library is None:
            _library = _load(_find_api())
        return _library


def preload() -> None:
    """Load the library for the children of this process; raises `LibraryMissing`.

    For a daemon that forks for each request and makes no call of its own.  A child
    whose daemon is older than the installed GlusterFS loads the new one.
    """
    global _preloaded
    # Late: of Ganeti's processes one forks for its requests.
    from ganeti_gluster.tools.gfapi.preload import Preloaded, mapped

    before = mapped()
    _preloaded = Preloaded(load().handles, before)


def _forked() -> None:
    global _lock, _inherited
    _lock = threading.Lock()
    _inherited = _preloaded is not None


os.register_at_fork(after_in_child=_forked)


def _find_api() -> Path:
    # Not importlib's find_spec: Debian's glusterfs has a package `gluster` of
    # its own, which would hide a gfapi that is installed elsewhere.
    for folder in [*map(Path, filter(None, sys.path)), VENDOR]:
        if (folder / API_PATH).is_file():
            return folder / API_PATH
    raise LibraryMissing(
        "the Python package gfapi is not installed", hint="install it: pip install gfapi"
    )


def _load_soname() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(SONAME, ctypes.RTLD_GLOBAL)
    except OSError as err:
        raise LibraryMissing(
            "cannot load %s: %s" % (SONAME, err),
            hint="install GlusterFS's client library (Debian: apt install libgfapi0)",
        ) from err


def _load(path: Path) -> Library:
    first = _load_soname()
    spec = importlib.util.spec_from_file_location("gfapi.api", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _answering_find_library():
        spec.loader.exec_module(module)
    return Library(module, first)


@contextlib.contextmanager
def _answering_find_library() -> Iterator[None]:
    # api.py asks find_library for the name, which runs ldconfig (and without it
    # a compiler); the answer is known by now.  Imported late, as not every process
    # of Ganeti's comes here.
    import ctypes.util

    original = ctypes.util.find_library

    def find_library(name: str) -> str | None:
        return SONAME if name == "gfapi" else original(name)

    ctypes.util.find_library = find_library
    try:
        yield
    finally:
        ctypes.util.find_library = original


def _declare(client: ctypes.CDLL, name: str) -> Callable[..., Any]:
    try:
        function = client[name]
    except AttributeError as err:
        raise LibraryMissing(
            "%s lacks %s" % (SONAME, name), hint="GlusterFS 6 or later is needed"
        ) from err
    function.restype, function.argtypes = PROTOTYPES[name]
    return function
