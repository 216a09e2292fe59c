"""Training: a tokenizer, a base model from scratch, and the fine-tuning of any causal model on a subset."""
