"""Snapshots: the state of an instance's disks at one instant, kept as images.

`graph` says what QEMU is told, `live` tells it, `nbd` reads what it shows,
`catalogue` knows the images on the volume, and `worker` does the whole of it in
a process that systemd supervises and cleans up after (`service`).
"""
