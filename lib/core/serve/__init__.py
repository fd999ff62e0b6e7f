"""The image servers: the one way to access an image that is in use.

For each image that is open on a node a separate process (`image-server`, C, in src/) opens it,
holds its lock on the same file descriptor, and serves it by NBD on a unix socket.  QEMU, the
kernel's block devices, snapshots and exports are its clients.  It is an instance of the systemd
unit `ganeti-gluster-image@.service`, so it survives the node daemon and is restarted if it dies.
Its clients then reconnect and repeat the requests that were not answered.

`files` are exchanged by servers and the programs that start them, `control` sends requests to a
server, `server` starts, changes and ends one, and `holder` shows who has an image open.
"""
