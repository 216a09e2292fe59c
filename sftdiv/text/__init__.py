"""Text of every script and origin: its words, its lines, and its form in files that other programs interpret."""
