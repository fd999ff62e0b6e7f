"""The servers of open images: the one way to an image that is in use.

For each image that is open on a node a process of its own (`image-server`, C, in src/)
opens it, holds its lock on the same descriptor, and serves it by NBD on a unix socket:
QEMU, the kernel's block devices, snapshots and exports are its clients.  It is an instance
of the systemd unit `ganeti-gluster-image@.service`, so it outlives the node daemon, and is
started again where it dies; its clients connect again and send once more what was not
answered.

`files` is what servers and those who start them leave for each other, `control` asks a
server, `server` starts, changes and ends one, `holder` tells who has an image open.
"""
