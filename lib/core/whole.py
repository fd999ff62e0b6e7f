"""Load at once what of this package is loaded late elsewhere.

For what works for long: an upgrade puts other files in place of those that it has not loaded
yet, which need not go with those that it has.
"""

from __future__ import annotations

from ganeti_gluster.core import export, in_use
from ganeti_gluster.tools.gfapi import preload, shards, topology

#: What is loaded late by modules that import no Ganeti.
MODULES = (export, in_use, preload, shards, topology)
