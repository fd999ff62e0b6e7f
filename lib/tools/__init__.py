"""The tools of the package: libgfapi, gluster, systemd, files."""
