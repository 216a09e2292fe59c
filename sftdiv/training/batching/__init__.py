"""From conversations to batches: tokenizing, checks, packing, and the order of the optimizer steps."""
