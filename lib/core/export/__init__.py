"""A block device of the kernel for an image: for OS scripts and hypervisors that need one.

`Export` is one image's device on this node.  What it has comes from the image's server
(`serve`), which has to be there.  Where the kernel has network block devices (nbd), QEMU's
`qemu-nbd` makes it; elsewhere this package's own exporter does, by a FUSE file that only
it sees and a loop device on that.  Either runs as a transient unit of systemd, so that a
device outlives the node daemon and is found again after it; either outlives the image's
server, connects again and sends once more what was not answered.
"""

from ganeti_gluster.core.export.export import Export, ExportFailed

__all__ = ["Export", "ExportFailed"]
