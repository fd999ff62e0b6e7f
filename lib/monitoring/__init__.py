"""The monitoring agent: what a node measures, for Prometheus and for Ganeti's monitoring.

`operations` counts what the plugin does in the node daemon, `collect` looks at the
node, `metrics` and `report` say it in the two formats, `agent` keeps both in files.
"""
