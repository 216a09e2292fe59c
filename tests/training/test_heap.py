"""When memory is short on a CPU, freed blocks go back to the system at once."""

import sys

import pytest
from warm_process import run_code

from sftdiv.training.resources.heap import is_short

FREED = """
import sys
import numpy as np
from pathlib import Path
from sftdiv.training.resources.heap import return_freed_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

if sys.argv[1] == "fixed":
    assert return_freed_blocks()
np.ones(30 << 20, dtype=np.uint8)  # a freed block of 30 MiB raises glibc's own threshold to its size
before = resident()
blocks = [np.ones(4 << 20, dtype=np.uint8) for _ in range(50)]
last = np.ones(1 << 10, dtype=np.uint8).tobytes() * 600  # a small block above them: the heap cannot shrink
blocks.append(np.ones(2 << 20, dtype=np.uint8))
del blocks[:-1]
print(round(resident() - before))
"""


def test_short_means_less_than_the_tensors_and_what_the_heap_keeps():
    assert is_short(8.0, 11.0) and not is_short(8.0, 11.3)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_blocks_are_returned():
    kept, returned = (int(run_code(FREED, mode).stdout) for mode in ("default", "fixed"))
    assert kept > 150 and returned < 20  # MiB of the 200 that were freed
