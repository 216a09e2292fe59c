"""Memory that a process holds beyond its tensors on a CPU, and how it is given back.

glibc keeps freed blocks below a threshold that grows to 32 MiB, so that the activations of one pass fragment the heap
of the next. SmolLM2-135M at 2 x 512 tokens takes 4.5 GiB where its tensors take 3.8, and at 8 x 512 tokens 12.8 where
they take 9.4. With a fixed threshold of 1 MiB it takes 3.75 GiB, and 15 % more CPU time for fetching fresh pages
(``benchmarks/training/memory_135m.md``). So the threshold is fixed only where memory is short.
"""

from __future__ import annotations

import ctypes
import ctypes.util

KEPT = 1.4  # bytes of a process over those of its tensors, at most, as measured
M_MMAP_THRESHOLD = -3  # of malloc.h
THRESHOLD = 1 << 20  # bytes; larger blocks are returned to the system when they are freed


def is_short(tensors: float, available: float) -> bool:
    """Whether a process with this many bytes of tensors may need more than the available bytes."""
    return tensors * KEPT > available


def return_freed_blocks() -> bool:
    """Have glibc return freed blocks of 1 MiB and more at once; False where another C library is in use."""
    library = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(library), "mallopt", None) if library else None
    return mallopt is not None and mallopt(M_MMAP_THRESHOLD, THRESHOLD) == 1
