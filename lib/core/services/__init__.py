"""Groups of services on the cluster's nodes: Gluster Swift, Gluster's own, others.

`model` has the entities and the algebra of statuses, `config` the master list of services,
`systemd` and `units` a node's own view.  `control` starts and stops services there, `inquiry`
combines the answers of all nodes, with `patience` and `misses` for nodes that are late or do not
answer, `events` finds the changes, and `store` keeps them.
"""
