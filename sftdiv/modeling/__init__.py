"""Shared by training and evaluation: model folders, chat format, generation and loss of causal language models."""
