"""Memory and compute of a training: estimates, limits, and the largest micro-batch that fits."""
