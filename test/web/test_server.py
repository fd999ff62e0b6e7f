"""Where the page listens, and with what."""

from __future__ import annotations

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.web.server import choose


@pytest.mark.parametrize(
    ("address", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:5083/"),
        ("::1", False, "http://[::1]:5083/"),
        ("127.0.0.1", True, "https://127.0.0.1:5083/"),
        ("192.0.2.2", False, "https://192.0.2.2:5083/"),
        ("0.0.0.0", False, "https://0.0.0.0:5083/"),
        ("::", False, "https://[::]:5083/"),
    ],
)
def test_all_but_loopback_has_tls(address: str, tls: bool, url: str) -> None:
    assert choose(address, 5083, "/c.pem", tls=tls).url == url


@pytest.mark.parametrize(
    ("address", "port", "said"),
    [
        ("node1", 5083, "not an IP address: node1"),
        ("", 5083, "not an IP address"),
        ("127.0.0.1", 443, "not a port for the page: 443"),
        ("127.0.0.1", 65536, "not a port for the page: 65536"),
    ],
)
def test_what_cannot_be_listened_on(address: str, port: int, said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        choose(address, port, "/c.pem", tls=False)
