"""Ganeti's library as far as modules of ours ask for it; no test has all of Ganeti.

The values are Ganeti's own, see lib/_constants.py and lib/errors.py there.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

_PACKAGES = ("ganeti", "ganeti.http", "ganeti.rpc")
_KNOWN = {
    "ganeti.constants": {
        "EXIT_SUCCESS": 0,
        "EXIT_FAILURE": 1,
        "EXIT_NOTMASTER": 11,
        "EXIT_CONFIRMATION": 13,
        "RELEASE_VERSION": "3.1.0",
        "ADMINST_UP": "up",
        "DDM_MODIFY": "modify",
        "DISK_DT_DEFAULTS": {"gluster": {"host": "127.0.0.1", "port": 24007, "volume": "gv0"}},
        "DISK_USERSPACE": "userspace",
        "DTS_EXT_MIRROR": frozenset(["diskless", "ext", "gluster", "rbd", "sharedfile"]),
        "DTS_MIRRORED": frozenset(["diskless", "drbd", "ext", "gluster", "rbd", "sharedfile"]),
        "DT_DISKLESS": "diskless",
        "DT_DRBD8": "drbd",
        "DT_EXT": "ext",
        "DT_FILE": "file",
        "DT_GLUSTER": "gluster",
        "DT_PLAIN": "plain",
        "HT_KVM": "kvm",
        "HT_SM_USER": "user",
        "HV_SECURITY_DOMAIN": "security_domain",
        "HV_SECURITY_MODEL": "security_model",
        "IPOLICY_DTS": "disk-templates",
        "JOBS_PENDING": frozenset(["queued", "waiting", "canceling"]),
        "JOB_STATUS_RUNNING": "running",
        "LDP_ACCESS": "access",
        "NR_DRAINED": "D",
        "NR_MASTER": "M",
        "NR_MCANDIDATE": "C",
        "NR_REGULAR": "R",
        "SSH_LOGIN_USER": "root",
        "SS_OFFLINE_NODES": "offline_nodes",
        "TAG_CLUSTER": "cluster",
        "TAG_NODE": "node",
        "VALUE_DEFAULT": "default",
    },
    "ganeti.errors": {
        "ECODE_INVAL": "wrong_input",
        "ECODE_NOENT": "unknown_entity",
        "ECODE_STATE": "wrong_state",
    },
}


class _Anything:
    """A class that commands are made with, or what a function gives."""

    def __init__(self, *args: object, **named: object) -> None:
        pass


class _Stub(ModuleType):
    """A module of Ganeti's that has whatever is asked for: errors, classes, values."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _KNOWN.get(self.__name__, {}):
            found: Any = _KNOWN[self.__name__][name]
        elif self.__name__ in _PACKAGES and name.islower():
            found = importlib.import_module("%s.%s" % (self.__name__, name))
        elif name.isupper() or name.islower():
            found = MagicMock(name="%s.%s" % (self.__name__, name))
        else:
            base = Exception if self.__name__ == "ganeti.errors" else _Anything
            found = type(name, (base,), {})
        setattr(self, name, found)
        return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "ganeti":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def on_ganeti() -> Iterator[Callable[[str], Any]]:
    """What imports a module of `ganeti_gluster`, on Ganeti's library as it is here."""
    finder = _Finder()
    before = dict(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield lambda name: importlib.import_module("ganeti_gluster.%s" % name)
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ("ganeti", "ganeti_gluster"):
                module = sys.modules.pop(name)
                parent, _, last = name.rpartition(".")
                if getattr(sys.modules.get(parent), last, None) is module:
                    delattr(sys.modules[parent], last)
