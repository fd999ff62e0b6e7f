"""The import hook through which Ganeti's processes find this plugin.

`ganeti-gluster.pth` calls `install` at the start of every Python process of the
system, so this module imports nothing but `sys` and does nothing until a
process imports a module of the package `ganeti`.
"""

import sys

GANETI_PREFIX = "ganeti."


class Finder:
    """A `sys.meta_path` entry that lets `ganeti_gluster.plugin` see Ganeti's modules."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> object:
        """Answer for Ganeti's modules, and for no others."""
        if not name.startswith(GANETI_PREFIX):
            return None
        try:
            from ganeti_gluster import plugin

            return plugin.find_spec(name, path)  # type: ignore[arg-type]
        except Exception as err:
            # Whatever is wrong with this package, Ganeti goes on as stock.
            sys.meta_path.remove(Finder)
            import syslog

            syslog.syslog(syslog.LOG_ERR, "ganeti-gluster left stock Ganeti in place: %r" % (err,))
            return None


def install() -> None:
    """Put the finder first on `sys.meta_path`; a second call changes nothing."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
