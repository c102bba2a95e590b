"""Repositories bring what is below: the workflow adds their directories to this package's path."""
