"""Groups of services on the cluster's nodes: Gluster Swift, Gluster's own, others.

`model` has the entities and the algebra of statuses, `config` the master list of
services, `systemd` and `units` a node's own view, `control` starts and stops there,
`inquiry` puts together what all nodes tell, with `patience` and `misses` for those that are
late or silent; `events` tells what changed, `store` keeps it.
"""
