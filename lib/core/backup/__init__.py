"""Backups of instances: a repository of pieces that is written to a store, and read from it.

A repository consists of four kinds of files, in the order in which they are written:

- `packs/XX/ID`: up to some thousand blobs, one after the other (`pack`).  A blob is compressed,
  and is either a piece of a disk, 64 KiB, or a part of an index.  It is called by its pack and its
  number in it, and never by its place.
- In the packs, the index of each disk (`index`): a segment for each 64 MiB of the disk refers to
  its pieces, and the root refers to the segments.  A piece of zeroes is not stored.
- `backups/INSTANCE/NAME.json`: the manifest of a backup (`manifest`), which refers to the root of
  each disk.  It is written last: a backup exists when its manifest does.
- `locks/ID`: who uses the repository (`lock`).

Each backup is complete in itself.  An incremental one has most of its references from the backup
before, so there are no chains: a backup is restored in the same way whatever came before it, and
is removed without a look at the others.  What no manifest leads to is removed by `prune`.

The files may have been changed by anyone who can write to the store.  What is read of them is
bounded and checked: names, numbers and sizes before they are used, blobs against their digests.
"""
