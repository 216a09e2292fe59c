"""The synthetic corpus: a small world of facts, the text of its base model, a held-out benchmark; seeded code."""
