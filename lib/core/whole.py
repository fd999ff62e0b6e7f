"""Load all modules of this package that are otherwise loaded late.

For processes that run for long: an upgrade replaces the files that they have not loaded yet, and
the new ones need not match the loaded ones.
"""

from __future__ import annotations

from ganeti_gluster.core import export, in_use
from ganeti_gluster.core.changed import check
from ganeti_gluster.tools.gfapi import preload, shards, topology

#: What is loaded late by modules that import no Ganeti.
MODULES = (check, export, in_use, preload, shards, topology)
