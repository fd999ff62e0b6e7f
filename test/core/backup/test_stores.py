"""Each kind of store keeps the same promises; the host's is on a node (test/integration)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core.backup import on_volume, places
from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.on_volume import VolumeStore
from ganeti_gluster.core.backup.store import BackupStore, StoredFile
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import private, sftp

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})


@pytest.fixture(params=["directory", "volume"])
def store(
    request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[BackupStore, Path]:
    """A store, and where its files are."""
    if request.param == "directory":
        return DirectoryStore(str(tmp_path)), tmp_path
    volume = LocalVolume(tmp_path)
    monkeypatch.setattr(
        on_volume, "connect", lambda spec: contextmanager(lambda: iter([volume]))()
    )
    return VolumeStore("gluster://node1/gv0", SPEC), tmp_path / "ganeti-backup"


def test_a_file_is_what_was_put_last(store: tuple[BackupStore, Path]) -> None:
    with store[0] as found:
        found.put("a/b/c", b"old")
        found.put("a/b/c", b"new one")
        assert found.get("a/b/c") == b"new one"
        assert (found.get("a/b/c", 4), found.get("a/b/c", 1, 2)) == (b"one", b"ew")
        assert (found.get("a/b/c", 5, 100), found.get("a/b/c", 100, 5)) == (b"ne", b"")
        assert found.entries("a/b") == [StoredFile("c", 7)]
        assert [each.name for each in found.entries("a")] == ["b"]
        assert found.entries("nothing") == []
    assert sorted(os.listdir(store[1] / "a" / "b")) == ["c"]


def test_a_file_is_removed_once_or_more(store: tuple[BackupStore, Path]) -> None:
    with store[0] as found:
        found.put("a", b"x")
        found.delete("a")
        found.delete("a")
        with pytest.raises(FileNotFoundError):
            found.get("a")


def test_what_was_not_written_to_its_end_is_no_file(store: tuple[BackupStore, Path]) -> None:
    with store[0] as found:
        found.put("a/b", b"x")
        (store[1] / "a" / (private.NEW_PREFIX + "cut")).write_bytes(b"half")
        assert found.entries("a") == [StoredFile("b", 1)]
        assert found.clear("a") == [private.NEW_PREFIX + "cut"]
        assert os.listdir(store[1] / "a") == ["b"]


@pytest.mark.parametrize("path", ["../a", "/a", "a/../b", ""])
def test_paths_that_lead_elsewhere_are_refused(store: tuple[BackupStore, Path], path: str) -> None:
    with store[0] as found:
        calls: list[Callable[[], object]] = [
            lambda: found.put(path, b""),
            lambda: found.get(path),
            lambda: found.delete(path),
            lambda: found.entries(path),
        ]
        for call in calls:
            with pytest.raises(InvalidParameter):
                call()


def test_a_file_on_a_volume_is_replaced_without_losing_its_shards(tmp_path: Path) -> None:
    """The old one has another name until it is removed as images are."""
    volume = LocalVolume(tmp_path)
    steps: list[tuple[str, ...]] = []
    volume.before = lambda what, *names: steps.append((what, *map(str, names)))
    found = VolumeStore("gluster://node1/gv0", SPEC)
    found._connected = volume  # type: ignore[assignment]
    found.put("a", b"old")
    steps.clear()
    found.put("a", b"new")
    (linked, _, aside), renamed, *rest = steps
    assert linked == "link" and renamed[0] == "rename"
    assert rest[-1] == ("unlink", aside)
    assert os.listdir(tmp_path / "ganeti-backup") == ["a"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/srv/backups", DirectoryStore),
        ("/srv/backups/", DirectoryStore),
        ("gluster://node1,node2:24008/gv1", VolumeStore),
        ("sftp://backup@host.example.org/srv/backups", places.SftpStore),
        ("sftp://[2001:db8::1]:2222/srv/backups", places.SftpStore),
    ],
)
def test_places_that_are_known(text: str, kind: type) -> None:
    assert isinstance(places.store(text), kind)


@pytest.mark.parametrize(
    "text",
    ["", "srv", "/", "/srv/../x", "//srv", "gluster://node1", "gluster:///gv1"]
    + ["gluster://node1/a/b", "sftp://host", "sftp:///srv", "sftp://a;b@host/srv"]
    + ["sftp://-oProxyCommand=x/srv", "sftp://host/", "sftp://a@-b/srv", "sftp://a,b/srv"]
    + ["sftp://host:0/srv", "sftp://-x@host/srv", "http://host/srv"],
)
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        places.store(text)


def test_how_a_host_is_reached() -> None:
    words = sftp.argv("host", user="backup", port=2222, options=["HostKeyAlias=c"])
    assert words[-5:] == ["-oHostKeyAlias=c", "-p2222", "-s", "backup@host", "sftp"]
    assert words[0] == "ssh" and "-oBatchMode=yes" in words
    assert sftp.argv("host")[-3:] == ["-s", "host", "sftp"]


def test_what_the_unit_may_write_to() -> None:
    assert places.unit_properties("/srv/a b") == ['ReadWritePaths="-/srv/a b"']
    assert places.unit_properties("/srv/a") == ["ReadWritePaths=-/srv/a"]
    assert places.unit_properties("gluster://node1/gv1") == []
    assert places.unit_properties("sftp://host/srv") == ["ProtectHome=read-only"]
