"""Code for the whole cluster: it decides from facts that Ganeti's channels provide."""
