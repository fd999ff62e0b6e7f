"""What of an image has changed since a point, for incremental backups (doc/changed-blocks.rst).

A point is named by its user, and stands for a state of the image that is kept elsewhere.  From the
moment it begins, the image's server records on the volume which pieces of the image may have
changed, before it changes them.  A backup does this, for each disk:

1. `begin` a new point;
2. fix the state to copy: take the live snapshot, or share the lock of a stopped image;
3. ask `changed_since` the point of the previous backup, while that state is fixed;
4. copy these extents from the fixed state, or all of it where the answer has none;
5. when the backup is complete, `drop` the previous point; if it failed, `drop` the new one.

As the new point begins before the state is fixed, and changes since the previous one are read
after that, neither needs the exact instant: at worst a few pieces are copied once more.

`points` has these functions.
"""
