"""Keys and certificates as the real openssl makes them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ganeti_gluster.tools import x509
from ganeti_gluster.tools.x509 import BadCertificate, Certificate

pytestmark = pytest.mark.allow_process


class Folder:
    """Files with keys and certificates."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, text: str) -> str:
        path = self._path / name
        path.write_text(text)
        return str(path)

    def authority(self, name: str = "ca", days: int = 10) -> tuple[str, str]:
        key = self.put(name + ".key", x509.new_key())
        return self.put(name + ".pem", x509.authority(key, "Pool of c", days)), key

    def node(self, name: str, authority: tuple[str, str], days: int = 5) -> tuple[str, str]:
        key = self.put(name + ".key", x509.new_key())
        request = self.put(name + ".csr", x509.request(key, name))
        return self.put(name + ".pem", x509.sign(request, name, *authority, days)), key


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_node_has_a_certificate_of_the_authority(folder: Folder) -> None:
    authority = folder.authority()
    certificate, key = folder.node("node1.example.org", authority)
    found = x509.read(certificate)
    assert found.name == "node1.example.org"
    assert abs(found.ends - time.time() - 5 * 86400) < 3600
    x509.check(certificate, authority[0])
    x509.check_key(certificate, key)


def test_what_does_not_belong_together(folder: Folder) -> None:
    authority, other = folder.authority(), folder.authority("other")
    certificate, _ = folder.node("node1", authority)
    with pytest.raises(BadCertificate, match="verification failed"):
        x509.check(certificate, other[0])
    with pytest.raises(BadCertificate, match=r"other\.key is not the key of "):
        x509.check_key(certificate, other[1])
    with pytest.raises(BadCertificate, match="openssl x509"):
        x509.read(folder.put("empty.pem", ""))


def test_a_node_is_not_given_the_name_of_another(folder: Folder) -> None:
    authority = folder.authority()
    request = folder.put("csr", x509.request(folder.put("key", x509.new_key()), "node2"))
    with pytest.raises(BadCertificate, match="node1 requests a certificate for subject=CN=node2"):
        x509.sign(request, "node1", *authority, 5)


@pytest.mark.parametrize("name", ["", "a/CN=b", "a b", "é", "n" * 65])
def test_names_that_no_certificate_can_have(folder: Folder, name: str) -> None:
    key = folder.put("key", x509.new_key())
    with pytest.raises(BadCertificate, match="cannot be the name in a certificate"):
        x509.request(key, name)


def test_what_is_shown_is_read() -> None:
    shown = "subject=O=c,CN=node1\nnotAfter=Nov 27 06:39:47 2031 GMT\n"
    assert x509.parse(shown) == Certificate("node1", 1953527987.0)
    with pytest.raises(BadCertificate, match="no name or no end"):
        x509.parse("subject=O=c\n")
