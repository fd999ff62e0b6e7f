"""The certificate authority of the pool: its key and certificate, on the master.

Master candidates have copies, since each of them may become the master, and can do everything
in the cluster anyway.  No other node has the key.
"""

from __future__ import annotations

import os
import time

from ganeti_gluster import constants
from ganeti_gluster.core.pool import tls
from ganeti_gluster.tools import private, x509

KEY = constants.STATE_DIR + "/tls-authority.key"
CERTIFICATE = constants.STATE_DIR + "/tls-authority.pem"
FILES = (KEY, CERTIFICATE)
#: Days that the authority's certificate is valid, and a node's, as Ganeti's own.
AUTHORITY_DAYS = 20 * 365
NODE_DAYS = 5 * 365

_DAY = 86400


def exists() -> bool:
    """Whether there is one here."""
    return all(os.path.exists(path) for path in FILES)


def create(cluster: str) -> None:
    """Make one, named after the cluster; no-op if there is one."""
    if exists():
        return
    private.write(KEY, x509.new_key(), durable=True)
    name = ("Gluster pool of %s" % cluster)[: x509.LONGEST_NAME]
    private.write(CERTIFICATE, x509.authority(KEY, name, AUTHORITY_DAYS), durable=True)


def certificate() -> str:
    """Its certificate, which all nodes are to trust; PEM."""
    with open(CERTIFICATE, encoding="ascii") as stream:
        return stream.read()


def digest() -> str:
    """As nodes tell of what they trust; "" if there is none."""
    return tls.digest(certificate().encode()) if exists() else ""


def issue(request: str, name: str) -> str:
    """The certificate of a node for its request, valid no longer than the authority's; PEM."""
    left = int((x509.read(CERTIFICATE).ends - time.time()) // _DAY)
    if left < 1:
        raise x509.BadCertificate("the certificate of the authority in %s has ended" % CERTIFICATE)
    with private.scratch(constants.STATE_DIR, "tls-") as directory:
        path = os.path.join(directory, "request")
        private.write(path, request)
        return x509.sign(path, name, CERTIFICATE, KEY, min(NODE_DAYS, left))
