"""What runs for the cluster: decisions from facts that Ganeti's channels bring."""
