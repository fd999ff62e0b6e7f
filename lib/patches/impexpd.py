"""A correction of Ganeti's import-export daemon (`ganeti.impexpd`).

Within a cluster both ends of a backup's transfer use the cluster's own certificate, whose name is
always `ganeti.example.com`.  Ganeti 3.1.0~rc2 makes socat expect the name of the other host, so no
backup of any template works if addresses have names (Ganeti's issue 1839, corrected after that
release).
"""

from __future__ import annotations

import functools
import re
from typing import Any

from ganeti_gluster.errors import PatchRefused

_NAME = re.compile(r"\bopenssl-commonname=[^,]*")


def extend(module: Any) -> None:
    """Let socat expect the name that the cluster's certificate has."""
    builder: Any = getattr(module, "CommandBuilder", None)
    original = getattr(builder, "_GetSocatCommand", None)
    name = getattr(module.constants, "X509_CERT_CN", None)
    if original is None or not name:
        raise PatchRefused("impexpd.CommandBuilder is not as expected")
    from ganeti import pathutils

    @functools.wraps(original)
    def wrapper(self: Any) -> list[str]:
        argv: list[str] = original(self)
        if self._opts.cert != pathutils.NODED_CERT_FILE:
            return argv
        return [_NAME.sub("openssl-commonname=%s" % name, word) for word in argv]

    builder._GetSocatCommand = wrapper
