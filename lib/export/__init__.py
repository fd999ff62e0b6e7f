"""A block device of the kernel for an image: for OS scripts and hypervisors that need one.

`Export` is one image's device on this node.  Where the kernel has network block
devices (nbd), QEMU's `qemu-nbd` serves it; elsewhere this package's own exporter
does, by a FUSE file that only it sees and a loop device on that.  Either runs as
a transient unit of systemd, so that a device outlives the node daemon and is
found again after it.
"""

from ganeti_gluster.export.export import Export, ExportFailed

__all__ = ["Export", "ExportFailed"]
