"""Sweeps: a grid and its baselines as cells, each in its own process, resumed and reported from files on disk."""
