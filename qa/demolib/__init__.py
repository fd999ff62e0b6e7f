"""The demonstration: the whole way of a virtual machine on Gluster, step by step."""
