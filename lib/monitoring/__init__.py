"""The monitoring agent: what a node measures, for Prometheus and for Ganeti's monitoring.

`collect` looks at the node, `metrics` and `report` say it in the two formats, `agent` keeps
both in files; `resident` is the process that has this done every minute, and on the master
the sync of the services.
"""
