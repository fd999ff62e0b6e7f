"""The name that a backup's transfer expects in the other end's certificate."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import impexpd

OURS = "/var/lib/ganeti/server.pem"
ADDRESS = "OPENSSL:192.0.2.12:1234,keepalive,cert=%s,openssl-commonname=node2"


@pytest.fixture
def command(monkeypatch):
    """`command(certificate)`: what socat is started with, as by Ganeti 3.1.0~rc2."""
    pathutils = SimpleNamespace(NODED_CERT_FILE=OURS)
    ganeti = ModuleType("ganeti")
    ganeti.pathutils = pathutils
    monkeypatch.setitem(sys.modules, "ganeti", ganeti)

    class CommandBuilder:
        def _GetSocatCommand(self):
            return ["socat", "stdin", ADDRESS % self._opts.cert]

    constants = SimpleNamespace(X509_CERT_CN="ganeti.example.com")
    impexpd.extend(SimpleNamespace(CommandBuilder=CommandBuilder, constants=constants))

    def run(certificate):
        builder = CommandBuilder()
        builder._opts = SimpleNamespace(cert=certificate)
        return builder._GetSocatCommand()

    return run


def test_the_clusters_own_certificate_has_its_own_name(command):
    expected = ADDRESS % OURS
    assert command(OURS) == ["socat", "stdin", expected.replace("node2", "ganeti.example.com")]


def test_a_certificate_made_for_a_move_between_clusters_has_the_hosts(command):
    assert command("/crypto/x") == ["socat", "stdin", ADDRESS % "/crypto/x"]


def test_an_unknown_builder_is_refused():
    with pytest.raises(PatchRefused):
        impexpd.extend(SimpleNamespace(constants=SimpleNamespace()))
