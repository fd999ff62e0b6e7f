"""What the import hook in `ganeti-gluster.pth` calls for each module of Ganeti.

Every Python process of the system reads that file, so the hook's few lines are
in it, with no import: a process that is not Ganeti's loads nothing of this
package.
"""

from __future__ import annotations

import sys
import syslog

# The name of the class that `ganeti-gluster.pth` puts on `sys.meta_path`.
FINDER = "GanetiGluster"

_broken = False


def find_spec(name: str, path: object) -> object:
    """The spec of a module of Ganeti that the plugin extends, else None.

    Whatever is wrong with this package, Ganeti continues as stock Ganeti.
    """
    global _broken
    if _broken:
        return None
    try:
        from ganeti_gluster import plugin

        return plugin.find_spec(name, path)  # type: ignore[arg-type]
    except Exception as err:
        _broken = True
        syslog.syslog(syslog.LOG_ERR, "ganeti-gluster left stock Ganeti in place: %r" % (err,))
        return None


def installed() -> bool:
    """Whether this process has the hook."""
    return any(getattr(finder, "__name__", None) == FINDER for finder in sys.meta_path)
