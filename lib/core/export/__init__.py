"""A kernel block device for an image: for OS scripts and hypervisors that need one.

`Export` is one image's device on this node.  Its data comes from the image server (`serve`), which
must be running.  If the kernel has network block devices (nbd), QEMU's `qemu-nbd` provides the
device; otherwise this package's own exporter does, with a FUSE file that only it sees and a loop
device on that.  Both run as a transient systemd unit, so a device survives the node daemon, which
finds it again.  Both also survive the image server: they reconnect and repeat the requests that
were not answered.
"""

from ganeti_gluster.core.export.export import Export, ExportFailed

__all__ = ["Export", "ExportFailed"]
