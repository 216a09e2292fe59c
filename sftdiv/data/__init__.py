"""Reads files, a hub data set or the synthetic corpus into a `Corpus`: distinct examples in canonical order."""
