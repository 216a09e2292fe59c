"""Pairwise judging: prompts, answers, a judge model behind an endpoint, verdicts, and scores with their uncertainty."""
