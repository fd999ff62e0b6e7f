"""The monitoring agent: measures a node, for Prometheus and for Ganeti's monitoring.

`collect` measures the node, `metrics` and `report` produce the two formats, and `agent` stores
both in files.
"""
