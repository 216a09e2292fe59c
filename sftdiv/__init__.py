"""sftdiv: build SFT subsets at a controlled diversity, fine-tune on them, and measure what diversity buys."""

__version__ = "0.1.0"
