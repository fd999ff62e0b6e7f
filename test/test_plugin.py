"""Registration: what is extended, what is refused, and that Ganeti always goes on."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ganeti_gluster import constants, plugin

CONSTANTS = """
VERSION_MAJOR = {major}
VERSION_MINOR = {minor}
RELEASE_VERSION = "{major}.{minor}.7"
DT_GLUSTER = "gluster"
VTYPE_STRING = "string"
DISK_DT_DEFAULTS = {{"gluster": {{"host": "", "port": 1, "volume": "", "access": ""}}}}
DISK_DT_TYPES = {{"host": "string"}}
DTS_SNAPSHOT_CAPABLE = DTS_MAY_ADOPT = frozenset()
"""
LOG = """
def SetupLogging(logfile, program, debug=0):
    "Set up the log."
    return (logfile, program, debug)
"""

Importer = Callable[[str], ModuleType]


class Finder:
    """The class that `ganeti-gluster.pth` puts on sys.meta_path."""

    find_spec = staticmethod(lambda name, path=None, target=None: plugin.find_spec(name, path))


@pytest.fixture
def ganeti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package `ganeti` on disk, to be imported through the hook."""
    package = tmp_path / "ganeti"
    (package / "utils").mkdir(parents=True)
    for folder in (package, package / "utils"):
        (folder / "__init__.py").write_text("")
    (package / "constants.py").write_text(CONSTANTS.format(major=3, minor=1))
    (package / "utils" / "log.py").write_text(LOG)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.setattr(plugin, "_results", {})
    monkeypatch.setattr(plugin, "_logged", set())
    monkeypatch.setattr(constants, "DISABLED_FILE", str(tmp_path / "disabled"))
    monkeypatch.setattr(constants, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(constants, "NODED_STATE_FILE", str(tmp_path / "run" / "noded.json"))
    yield package
    for name in [n for n in sys.modules if n == "ganeti" or n.startswith("ganeti.")]:
        del sys.modules[name]


def test_a_known_ganeti_is_extended(ganeti: Path) -> None:
    module = importlib.import_module("ganeti.constants")
    assert module.DISK_DT_DEFAULTS["gluster"]["preallocation"] == "off"
    assert plugin.extended() == ["ganeti.constants"]
    assert plugin.refusals() == {}


@pytest.mark.parametrize(("major", "minor"), [(2, 16), (3, 2), (4, 0)])
def test_an_unknown_release_stays_stock(ganeti: Path, major: int, minor: int) -> None:
    (ganeti / "constants.py").write_text(CONSTANTS.format(major=major, minor=minor))
    module = importlib.import_module("ganeti.constants")
    assert "preallocation" not in module.DISK_DT_DEFAULTS["gluster"]
    assert plugin.refusals() == {
        "ganeti.constants": "Ganeti %d.%d.7 is not supported (supported: 3.0, 3.1)"
        % (major, minor)
    }


def test_a_node_that_is_switched_off_stays_stock(ganeti: Path) -> None:
    Path(constants.DISABLED_FILE).touch()
    module = importlib.import_module("ganeti.constants")
    assert "preallocation" not in module.DISK_DT_DEFAULTS["gluster"]
    assert plugin.refusals() == {
        "ganeti.constants": "switched off by %s" % constants.DISABLED_FILE
    }


def test_an_extension_that_fails_leaves_the_module_and_says_why(
    ganeti: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plugin.EXTENSIONS, "ganeti.constants", ("no_such_module", "extend"))
    assert importlib.import_module("ganeti.constants").VERSION_MAJOR == 3
    assert plugin.refusals() == {
        "ganeti.constants": "ModuleNotFoundError: No module named 'no_such_module'"
    }


def test_nothing_is_extended_after_the_constants_were_refused(ganeti: Path) -> None:
    (ganeti / "constants.py").write_text(
        CONSTANTS.format(major=3, minor=1) + "DISK_DT_DEFAULTS = {}\n"
    )
    (ganeti / "bootstrap.py").write_text(
        "from ganeti import constants\ndef _PrepareGlusterStorage(acceptance_fn=None): pass\n"
    )
    importlib.import_module("ganeti.bootstrap")
    assert plugin.extended() == []
    assert plugin.refusals() == {
        "ganeti.constants": "the tables of disk parameters are not as expected",
        "ganeti.bootstrap": "ganeti.constants was not extended",
    }


def test_the_node_daemons_functions_stay_stock_with_the_class(
    ganeti: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plugin.EXTENSIONS, plugin.TEMPLATE_MODULE, ("no_such_module", "register"))
    (ganeti / "storage").mkdir()
    (ganeti / "storage" / "__init__.py").write_text("")
    (ganeti / "storage" / "bdev.py").write_text("from ganeti import constants\n")
    (ganeti / "backend.py").write_text(
        "from ganeti.storage import bdev\ndef BlockdevCreate(disk): return 'stock'\n"
    )
    assert importlib.import_module("ganeti.backend").BlockdevCreate(None) == "stock"
    assert plugin.refusals()["ganeti.backend"] == "ganeti.storage.bdev was not extended"


def test_an_error_of_ganetis_own_module_is_ganetis(ganeti: Path) -> None:
    (ganeti / "constants.py").write_text("raise ValueError('broken')\n")
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("ganeti.constants")


@pytest.mark.parametrize("name", ["ganeti.utils", "ganeti.nothing", "json"])
def test_other_modules_are_none_of_our_business(ganeti: Path, name: str) -> None:
    assert plugin.find_spec(name, [str(ganeti)]) is None


def test_refusals_are_logged_once_when_ganeti_has_a_log(
    ganeti: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ganeti / "constants.py").write_text(CONSTANTS.format(major=9, minor=9))
    log = importlib.import_module("ganeti.utils.log")
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        importlib.import_module("ganeti.constants")
    assert caplog.messages == []
    for _ in range(2):
        assert log.SetupLogging("file", "gnt-instance", debug=1) == ("file", "gnt-instance", 1)
    (message,) = caplog.messages
    assert "left stock Ganeti in place: Ganeti 9.9.7 is not supported" in message


def test_the_node_daemon_leaves_its_state(ganeti: Path) -> None:
    log = importlib.import_module("ganeti.utils.log")
    importlib.import_module("ganeti.constants")
    log.SetupLogging("file", "gnt-instance")
    assert not Path(constants.NODED_STATE_FILE).exists()
    log.SetupLogging("file", "ganeti-noded")
    state = json.loads(Path(constants.NODED_STATE_FILE).read_text())
    assert state["extended"] == ["ganeti.constants", "ganeti.utils.log"]
    assert state["refusals"] == {}
    (path,) = Path(constants.RUN_DIR).iterdir()
    assert path.name == "noded.json"
    assert {found.stat().st_mode & 0o077 for found in (path, path.parent)} == {0}
