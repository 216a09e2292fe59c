"""Sweeps: a grid and its baselines as cells, each in a process of its own, resumed and reported from what lies on disk."""
