"""Actors bring what is below leapp.configs.actor: the workflow adds their directories to its path."""
