"""Text of every script and origin: its words, its lines, and how it is written into files that other programs interpret."""
