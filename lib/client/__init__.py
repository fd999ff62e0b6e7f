"""The `gnt-gluster` command, on Ganeti's own command line library."""
