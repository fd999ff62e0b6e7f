"""Conversions, and the paths of OS scripts that import and export disks."""

from __future__ import annotations

import shlex
import sys
from types import ModuleType, SimpleNamespace

import pytest

from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import CopyFailed
from ganeti_gluster.patches import transfer

SPEC = VolumeSpec.from_params({"host": "node1,[::1]:24008", "volume": "gv0"})


class RPCFail(Exception):
    """Ganeti's."""


def fail(text, *args, **kwargs):
    raise RPCFail(text % args)


@pytest.fixture
def module(monkeypatch):
    """`ganeti.backend` as far as it matters, and what it was asked in `calls`."""
    calls = []
    convert, gluster = ModuleType("convert"), ModuleType("gluster")
    gluster.keeping_paths = lambda: monkeypatch.context()
    convert.convert = lambda *devices: calls.append(("convert", *devices))
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.convert", convert)
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.gluster", gluster)
    one_writer = ModuleType("one_writer")
    node_names = ModuleType("node_names")
    node_names.own = lambda: "node7"
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.node_names", node_names)
    one_writer.enabled = lambda params: params["locking"] == "on"
    one_writer.patience = lambda params: int(params["patience"])
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.one_writer", one_writer)

    def io_command(instance, mode, ieio, ieargs):
        script = "( cd /os && ./script; )"
        if mode == "import":
            return {"A": "b"}, None, "| " + script, "custom"
        return {"A": "b"}, script + " |", None, "custom"

    made = SimpleNamespace(
        calls=calls,
        convert=convert,
        constants=SimpleNamespace(
            DT_GLUSTER="gluster", IEIO_SCRIPT="script", IEM_IMPORT="import", IEM_EXPORT="export"
        ),
        errors=SimpleNamespace(BlockDeviceError=OSError),
        utils=SimpleNamespace(ShellQuoteArgs=shlex.join),
        BlockdevConvert=lambda *disks: calls.append(("stock", *disks)),
        _GetImportExportIoCommand=io_command,
        _RecursiveFindBD=lambda disk: disk.device,
        _Fail=fail,
    )
    transfer.extend(made)
    return made


def disk(template="gluster", *, locking="on"):
    device = SimpleNamespace(
        place=(SPEC, "ganeti/u.0"),
        params={"locking": locking, "patience": "60"},
    )
    return SimpleNamespace(dev_type=template, device=device, uuid="u")


@pytest.mark.parametrize(
    ("source", "target", "by"),
    [("gluster", "plain", "convert"), ("file", "gluster", "convert"), ("file", "plain", "stock")],
)
def test_a_conversion_with_a_gluster_disk_is_ours(module, source, target, by):
    module.BlockdevConvert(disk(source), disk(target))
    assert [call[0] for call in module.calls] == [by]


def test_a_conversion_that_fails_fails_the_request(module):
    def breaks(*devices):
        raise CopyFailed("ended at byte 7")

    module.convert.convert = breaks
    with pytest.raises(RPCFail, match="Disk conversion failed: ended at byte 7"):
        module.BlockdevConvert(disk(), disk("plain"))


def test_a_script_has_a_path_as_long_as_it_runs(module):
    env, prefix, suffix, size = module._GetImportExportIoCommand(
        None, "export", "script", (disk(), 0)
    )
    assert (env, suffix, size) == ({"A": "b"}, None, "custom")
    words = shlex.split(prefix.removesuffix(" |"))
    assert words[:4] == ["/usr/bin/python3", "-P", "-m", "ganeti_gluster.with_path"]
    assert words[6:8] == ["--host", "node1:24007,[::1]:24008"]
    assert words[words.index("--node") + 1] == "node7"
    assert words[words.index("--patience") + 1] == "60"
    assert "--no-lock" not in words
    assert words[-4:] == ["--", "bash", "-c", "( cd /os && ./script; )"]
    assert "EXPORT_DEVICE" in words and "ganeti/u.0" in words
    command = module._GetImportExportIoCommand(None, "import", "script", (disk(), 3))[2]
    words = shlex.split(command.removeprefix("| "))
    assert {"IMPORT_DEVICE", "IMPORT_DISK_PATH", "DISK_3_PATH"} < set(words)


def test_the_program_locks_the_image_unless_that_is_not_wanted(module):
    found = module._GetImportExportIoCommand(None, "export", "script", (disk(locking="off"), 0))
    assert "--no-lock" in shlex.split(found[1].removesuffix(" |"))


def test_other_templates_keep_their_command(module):
    found = module._GetImportExportIoCommand(None, "export", "script", (disk("plain"), 0))
    assert found[1] == "( cd /os && ./script; ) |"
    found = module._GetImportExportIoCommand(None, "export", "raw", (disk(),))
    assert "with_path" not in found[1]
