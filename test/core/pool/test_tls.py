"""A node's files of TLS, and the pool's authority, as the real openssl makes them."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.pool import authority, tls
from ganeti_gluster.core.verify.gather import look_at_tls
from ganeti_gluster.tools import systemd
from ganeti_gluster.tools.x509 import BadCertificate

pytestmark = pytest.mark.allow_process


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node, which is the master as well; its glusterd was started an hour ago."""
    first, second = tmp_path / "etc", tmp_path / "usr"
    for path in (first, second, tmp_path / "state"):
        path.mkdir()
    monkeypatch.setattr(constants, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(authority, "KEY", str(tmp_path / "state/ca.key"))
    monkeypatch.setattr(authority, "CERTIFICATE", str(tmp_path / "state/ca.pem"))
    monkeypatch.setattr(authority, "FILES", (authority.KEY, authority.CERTIFICATE))
    monkeypatch.setattr(tls, "DIRECTORIES", (str(first), str(second)))
    monkeypatch.setattr(tls, "SECURE_ACCESS", str(tmp_path / "secure-access"))
    started = "@%d\n" % (time.time() - 3600)
    monkeypatch.setattr(systemd, "ctl", lambda *words, **named: SimpleNamespace(stdout=started))
    return tmp_path


def give(name: str) -> None:
    """A new key and certificate, as the master gives them."""
    authority.create("c.example.org")
    certificate = authority.issue(tls.request(name), name)
    tls.install(certificate, authority.certificate())


def test_a_node_gets_what_it_lacks(node: Path) -> None:
    assert tls.look().problem.startswith("missing: %s/etc/glusterfs.pem" % node)
    give("node1")
    found = tls.look()
    assert (found.problem, found.name, found.stale) == ("", "node1", True)
    assert found.authorities == authority.digest()
    assert found.fits("node1", now=time.time(), spare=(authority.NODE_DAYS - 1) * 86400)
    assert not found.fits("node2", now=time.time())
    key = node / "etc/glusterfs.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    # An older GlusterFS looks elsewhere.
    assert (node / "usr/glusterfs.key").samefile(key)
    assert sorted(os.listdir(node / "etc")) == sorted(tls.FILES)


@pytest.mark.parametrize("given", ["etc", "usr"])
def test_what_was_given_is_found_by_each_release(node: Path, given: str) -> None:
    give("node1")
    other = "usr" if given == "etc" else "etc"
    for name in tls.FILES:
        content = (node / "etc" / name).read_bytes()
        for directory in ("etc", "usr"):
            (node / directory / name).unlink()
        (node / given / name).write_bytes(content)
    found = tls.look()
    assert (found.problem, found.name, found.linked) == ("", "node1", False)
    tls.link()
    assert tls.look().linked
    assert all((node / other / name).samefile(node / given / name) for name in tls.FILES)
    # What somebody has put there is left alone.
    (node / other / tls.KEY).unlink()
    (node / other / tls.KEY).write_text("another")
    tls.link()
    assert (node / other / tls.KEY).read_text() == "another"


def test_the_authority_stays_when_it_is_wanted_again(node: Path) -> None:
    give("node1")
    before = authority.certificate()
    give("node1")
    assert authority.certificate() == before
    for path in authority.FILES:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(node / "state")) == ["ca.key", "ca.pem"]


def test_what_does_not_fit_changes_nothing(node: Path) -> None:
    give("node1")
    before = (node / "etc/glusterfs.pem").read_text()
    certificate = authority.issue(tls.request("node1"), "node1")
    tls.request("node1")
    with pytest.raises(BadCertificate, match="is not the key of"):
        tls.install(certificate, authority.certificate())
    assert (node / "etc/glusterfs.pem").read_text() == before
    assert tls.look().problem == ""


def test_a_key_of_another_certificate_is_told(node: Path) -> None:
    give("node1")
    tls.request("node1")
    os.replace(node / "etc/glusterfs.key.new", node / "etc/glusterfs.key")
    (node / "secure-access").touch()
    assert "is not the key of" in tls.look().problem
    seen = look_at_tls(node, (node / "etc",))
    assert (seen.management, seen.name) == (True, "node1")
    assert "is not the key of" in seen.problem


def test_the_mark_of_management_comes_and_goes(node: Path) -> None:
    mark = node / "secure-access"
    tls.start(management=True)
    mark.write_text("option transport.socket.ssl-cert-depth 3\n")
    tls.start(management=True)
    assert mark.read_text().startswith("option")
    tls.start()
    assert mark.exists()
    tls.start(management=False)
    tls.start(management=False)
    assert not mark.exists()


def test_glusterd_is_started_however_often_it_was(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(systemd, "ctl", lambda *words, **named: asked.append(words))
    tls.start()
    assert asked == [("reset-failed", "glusterd.service"), ("start", "glusterd.service")]
