"""One writer at a time: a lock on an image for as long as it is open on a node.

QEMU takes no lock on Gluster, so this does, with `glfs_posix_lock`: exclusive for
the node that may write, shared for both ends of a live migration.  Such a lock
belongs to a connection, so a small process holds it (`keeper`), a transient unit of
systemd per open image and node; `client` starts it, asks it and ends it.

Of a node that is cut off the bricks take the lock away (20 s after its last packet
with the options of the volume that this package sets, 84 s with GlusterFS's
own).  Its keeper has stopped what could write by then (`keeper.STOP_SECONDS`), lets
it go on when it has the lock again, and kills it when another node has.

Two facts shape it (GlusterFS 10.3 and 11.1): a lock carries a number of its holder's
choice, by which others tell whose it is, since an attribute could not be written
while a guest writes (it waits for the guest's lock without end); and a brick that
restarts has forgotten its locks, so the keeper takes the lock again every few
seconds, which changes nothing where it is held.  Each time it opens the file anew: for
the bricks the locks of one owner on one connection are one, so nothing is free for a
moment, and a brick that had no part in the file before has.
"""
