"""Evaluation of checkpoints: lm-eval tasks, held-out loss, paired differences, and pairwise judging (``judge``)."""
