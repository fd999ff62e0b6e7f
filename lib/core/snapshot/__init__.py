"""Snapshots: the state of an instance's disks at one instant, kept as images.

`graph` defines the commands for QEMU, `live` sends them, `nbd` reads what QEMU offers, `catalogue`
knows the images on the volume, and `worker` does all of it in a process that systemd supervises
and cleans up after (`service`).
"""
