"""What is done with images, volumes and services; it imports nothing of Ganeti."""
