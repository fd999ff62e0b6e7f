"""The work on images, volumes and services; it imports nothing from Ganeti."""
