"""Keys and certificates, by the `openssl` command: build the arguments, run, parse.

A key is made where it is used and never leaves that machine: what is sent is the request, which
another machine signs.
"""

from __future__ import annotations

import re
import secrets
import ssl
from dataclasses import dataclass

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command
from ganeti_gluster.tools.command import CommandFailed

#: Ganeti's certificates have keys of the same kind (RSA_KEY_BITS there).
_KEY = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
#: The longest common name (ub-common-name of RFC 5280).
LONGEST_NAME = 64
SECONDS = 60.0

_NAME = re.compile(r"^subject=.*?CN=([^,\n]+)", re.MULTILINE)
_END = re.compile(r"^notAfter=(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Certificate:
    """What a certificate says: the common name, and until when it is valid (Unix time)."""

    name: str
    ends: float


class BadCertificate(GanetiGlusterError):
    """A key, a request or a certificate cannot be used."""


def new_key() -> str:
    """A new private key, as PEM."""
    return _run("genpkey", *_KEY)


def request(key: str, name: str) -> str:
    """The request for a certificate of a common name, by the key in a file; PEM."""
    if not name.isascii() or not re.fullmatch(r"[\w.-]+", name) or len(name) > LONGEST_NAME:
        raise BadCertificate("'%s' cannot be the name in a certificate" % name)
    return _run("req", "-new", "-key", key, "-subj", "/CN=" + name)


def authority(key: str, name: str, days: int) -> str:
    """A certificate that an authority signs for itself; PEM."""
    words = ("-subj", "/CN=" + name, "-days", str(days), "-set_serial", _serial())
    return _run("req", "-new", "-x509", "-key", key, *words)


def sign(request: str, name: str, certificate: str, key: str, days: int) -> str:
    """The certificate for a request in a file, by an authority's certificate and key; PEM.

    Raises `BadCertificate` if the request is for another name.
    """
    asked = _run("req", "-in", request, "-noout", "-subject", "-nameopt", "RFC2253").strip()
    if asked != "subject=CN=%s" % name:
        raise BadCertificate("%s requests a certificate for %s" % (name, asked))
    words = ("-CA", certificate, "-CAkey", key, "-days", str(days), "-set_serial", _serial())
    return _run("x509", "-req", "-in", request, *words)


def read(path: str) -> Certificate:
    """What the certificate in a file says; raises `BadCertificate`."""
    return parse(
        _run("x509", "-in", path, "-noout", "-subject", "-enddate", "-nameopt", "RFC2253")
    )


def parse(shown: str) -> Certificate:
    """What `read` prints."""
    name, end = _NAME.search(shown), _END.search(shown)
    if not name or not end:
        raise BadCertificate("the certificate has no name or no end")
    return Certificate(name[1].strip(), float(ssl.cert_time_to_seconds(end[1].strip())))


def check(certificate: str, authorities: str) -> None:
    """Raise `BadCertificate` if the certificate in a file is not of an authority in another."""
    _run("verify", "-CAfile", authorities, certificate)


def check_key(certificate: str, key: str) -> None:
    """Raise `BadCertificate` unless the key in a file is that of the certificate in another."""
    if _run("x509", "-in", certificate, "-noout", "-pubkey") != _run(
        "pkey", "-in", key, "-pubout"
    ):
        raise BadCertificate("%s is not the key of %s" % (key, certificate))


def _serial() -> str:
    # At most 20 bytes, and positive.
    return "0x%s" % secrets.token_hex(16)


def _run(*words: str) -> str:
    try:
        return command.run(["openssl", *words], timeout=SECONDS).stdout
    except CommandFailed as err:
        raise BadCertificate(str(err)) from err
