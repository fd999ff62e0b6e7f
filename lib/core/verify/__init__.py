"""Checks of the cluster's Gluster storage: facts in, findings out.

`gather` looks at one node, `gather_volume` at one volume; both take bounded time
and say what they could not find out.  The checks are pure functions from those
facts to `Finding` objects; a healthy cluster has none.  `codes` is the table of what
they can find.
"""
