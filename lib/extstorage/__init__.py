"""The provider `gluster` of Ganeti's ExtStorage interface.

The scripts in extstorage/gluster/ pass their environment to `main`.  `request` reads and checks
it, `actions` uses the same core as the native template, and `node` knows what this node's Ganeti
supports.
"""
