"""sftdiv: build SFT subsets at a controlled diversity, fine-tune on them, and measure what diversity buys."""

import os

__version__ = "0.1.0"

# OpenMP's threads spin while they wait; beside any other busy process that made the tiny base model 25 times slower (LOG.md, 2026-11-21).
# It is read when torch is first imported, so it is set here, before any stage can do that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
