"""What `qa/bench` is made of; the scripts in node/ run within a node."""
