"""Loading libgfapi, once per process and only when it is needed.

Of the gfapi package (libgfapi-python 1.2) only `api.py` is executed: importing
the package fails on Python 3.10 and later.  It is found wherever it is
installed, else in the private copy beside this package (`_vendor`).
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import errno
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ganeti_gluster.errors import LibraryMissing
from ganeti_gluster.gfapi.prototypes import PROTOTYPES

SONAME = "libgfapi.so.0"
API_PATH = Path("gluster", "gfapi", "api.py")
VENDOR = Path(__file__).resolve().parent.parent / "_vendor"


class Library:
    """The loaded library: its functions, and the structures of the gfapi package."""

    def __init__(self, api: ModuleType) -> None:
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


def load() -> Library:
    """The library, loaded by the first call; raises `LibraryMissing`."""
    global _library
    with _lock:
        if _library is None:
            _library = Library(_load_api(_find_api()))
        return _library


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


def _find_api() -> Path:
    # Not importlib's find_spec: Debian's glusterfs has a package `gluster` of
    # its own, which would hide a gfapi that is installed elsewhere.
    for folder in [*map(Path, filter(None, sys.path)), VENDOR]:
        if (folder / API_PATH).is_file():
            return folder / API_PATH
    raise LibraryMissing(
        "the Python package gfapi is not installed", hint="install it: pip install gfapi"
    )


def _load_api(path: Path) -> ModuleType:
    try:
        ctypes.CDLL(SONAME, ctypes.RTLD_GLOBAL)
    except OSError as err:
        raise LibraryMissing(
            "cannot load %s: %s" % (SONAME, err),
            hint="install GlusterFS's client library (Debian: apt install libgfapi0)",
        ) from err
    spec = importlib.util.spec_from_file_location("ganeti_gluster.gfapi._api", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _answering_find_library():
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _answering_find_library() -> Iterator[None]:
    # api.py asks find_library for the name, which runs ldconfig (and without it
    # a compiler); the answer is known by now.
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
