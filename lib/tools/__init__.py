"""What the rest of the package is built with: libgfapi, gluster, systemd, files."""
