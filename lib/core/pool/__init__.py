"""The Gluster pool that Ganeti builds: its intended state, and how to reach it."""
