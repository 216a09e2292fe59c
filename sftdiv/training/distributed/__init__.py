"""Training on several devices: launching ranks with torchrun, the worker process of a rank, and sharding."""
