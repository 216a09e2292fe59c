"""What training and evaluation share about a causal language model: its folder, its chat format, its loss. Not a stage."""
