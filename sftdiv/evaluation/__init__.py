"""Evaluation: what a checkpoint scores on lm-eval tasks and on held-out responses, and what it says."""
