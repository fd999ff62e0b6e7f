"""libgfapi without its traps.

`connect` returns a `Volume`, whose methods return `File` objects; both are context managers.
Importing this package neither loads libgfapi nor starts a thread; the first `connect` of a process
does.
"""

from ganeti_gluster.tools.gfapi.connection import CONNECT_TIMEOUT, ConnectionSpec
from ganeti_gluster.tools.gfapi.file import File
from ganeti_gluster.tools.gfapi.stat import FileStat, Space
from ganeti_gluster.tools.gfapi.volume import DirectoryEntry, Volume, connect

__all__ = [
    "CONNECT_TIMEOUT",
    "ConnectionSpec",
    "DirectoryEntry",
    "File",
    "FileStat",
    "Space",
    "Volume",
    "connect",
]
