"""From conversations to batches: tokenization, checks, packing, and the order of the optimizer steps."""
