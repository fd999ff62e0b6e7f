"""The monitoring agent: what a node measures, for Prometheus and for Ganeti's monitoring.

`collect` looks at the node, `metrics` and `report` say it in the two formats, `agent` keeps
both in files.
"""
