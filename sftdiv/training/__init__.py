"""Training: a tokenizer, a base model from scratch, and fine-tuning of any causal model on a subset."""
