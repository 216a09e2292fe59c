"""The embedded world: a small corpus, the text its base model reads, and a held-out benchmark, all written by seeded code."""
