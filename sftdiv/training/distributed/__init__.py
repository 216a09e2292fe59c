"""Training on several devices: launching ranks with torchrun, the worker that each rank runs, and sharding."""
