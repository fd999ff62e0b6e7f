"""Ganeti's storage classes of this package."""
