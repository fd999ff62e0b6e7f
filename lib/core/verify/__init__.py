"""Checks of the cluster's Gluster storage: facts in, findings out.

`gather` checks one node and `gather_volume` one volume; both have a time limit and report what
they could not determine.  The checks are pure functions from those facts to `Finding` objects; a
healthy cluster has none.  `codes` is the table of all possible findings.
"""
