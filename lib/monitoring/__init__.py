"""The monitoring agent: measures a node, for Prometheus and for Ganeti's monitoring.

`collect` measures the node, `metrics` and `report` produce the two formats, and `agent` stores
both in files.  `resident` is the process that does this every minute, and on the master the sync
of the services as well.
"""
