"""The Gluster pool that Ganeti builds: what it should be, and how it gets there."""
