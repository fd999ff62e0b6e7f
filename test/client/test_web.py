"""`gnt-gluster web`, through its own entry point."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import pytest

from .conftest import MASTER, Entry, raiser


def test_elsewhere_the_master_is_named(check: Entry) -> None:
    check.be_elsewhere()
    said = "This node is not the master: the page is served by %s\n" % MASTER
    check("web", 11, err=said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--bind=localhost", "not an IP address: localhost; for example 127.0.0.1, "),
        ("--bind=", "not an IP address: ; for example 127.0.0.1, "),
        ("--port=443", "not a port for the page: 443; use 1024 to 65535\n"),
        ("--port=65536", "not a port for the page: 65536; use 1024 to 65535\n"),
        ("--port=-1", "not a port for the page: -1; use 1024 to 65535\n"),
    ],
)
@pytest.mark.parametrize("wait", ["", "--wait-master"])
def test_where_it_cannot_listen(check: Entry, options: str, said: str, wait: str) -> None:
    if not wait:
        check.be_master()
    check("web %s %s" % (wait, options), 1, err="Failure: %s" % said)


def test_a_file_that_is_no_certificate(check: Entry, tmp_path: Path) -> None:
    check.be_master()
    place = tmp_path / "none.pem"
    check.replace("web.main", bind=lambda listen: place.open("wb"), _log_to_stderr=lambda: None)
    place.touch()
    said = (
        "Failure: %s cannot be used as the certificate: it does not have a certificate and its key"
        " as PEM; gnt-cluster renew-crypto --new-rapi-certificate makes a new one\n" % place
    )
    check("web --tls --certificate=%s" % place, 1, err=said)


def test_a_certificate_that_is_not_there(check: Entry, tmp_path: Path) -> None:
    check.be_master()
    place = tmp_path / "none.pem"
    check.replace("web.main", bind=lambda listen: io.BytesIO(), _log_to_stderr=lambda: None)
    said = "Failure: %s cannot be used as the certificate: No such file or directory; " % place
    check("web --tls --certificate=%s" % place, 1, err=said)


@pytest.mark.parametrize("module", ["flask", "cheroot"])
def test_a_node_without_what_the_page_needs(check: Entry, module: str) -> None:
    check.be_master()
    real = builtins.__import__

    def find(name: str, *args: Any, **named: Any) -> Any:
        if name == "ganeti_gluster.web":
            raise ModuleNotFoundError("No module named '%s'" % module, name=module)
        return real(name, *args, **named)

    check.patch.setattr(builtins, "__import__", find)
    said = "the page needs the Python module %s; apt-get install python3-flask" % module
    check("web", 1, err="Failure: %s" % said)


def test_the_page_says_where_it_is(check: Entry) -> None:
    check.be_master()

    def serve(listen: Any, *, wait: bool, ready: Any) -> int:
        ready()
        return 0

    check.replace("web.main", serve_page=serve)
    check("web --port=5084", 0, out="The page is at http://127.0.0.1:5084/")


def test_a_port_that_is_taken(check: Entry) -> None:
    check.be_master()
    error = check.part("web.server").CannotListen("cannot listen", hint="use another port")
    check.replace("web.main", serve_page=raiser(error))
    check("web", 1, err="Failure: cannot listen; use another port\n")
