"""Publishes results outside sftdiv: subsets for trainers, models for the Hugging Face hub."""
