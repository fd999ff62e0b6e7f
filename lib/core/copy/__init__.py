"""Copying of disk contents: any source to any target, in parallel, with holes preserved.

`copy` copies from a source (an image, a file or block device, a stream, or anything with the three
members of `Source`) to a target (a new or an existing image, a new file, a block device, a
stream).  It does not depend on Ganeti.
"""

from ganeti_gluster.core.copy.engine import DEFAULT_THREADS, CopyResult, Options, copy
from ganeti_gluster.core.copy.interface import PIECE, Extent, Source, Stream, Target
from ganeti_gluster.core.copy.progress import Progress

__all__ = [
    "DEFAULT_THREADS",
    "PIECE",
    "CopyResult",
    "Extent",
    "Options",
    "Progress",
    "Source",
    "Stream",
    "Target",
    "copy",
]
