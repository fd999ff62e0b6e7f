"""GlusterFS as first-class virtual machine storage in Ganeti."""

__version__ = "0.1.0"
