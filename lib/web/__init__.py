"""The web page: a small web application on the master, and its JSON API."""
