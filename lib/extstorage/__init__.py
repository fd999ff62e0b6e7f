"""The provider `gluster` of Ganeti's ExtStorage interface.

The scripts in extstorage/gluster/ hand their environment to `main`.  `request`
reads and checks it, `actions` does what is asked by the core that the native
template has as well, and `node` knows what this node's Ganeti can do.
"""
