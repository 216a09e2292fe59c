"""Work on several cores with a result that does not depend on their number.

The caller passes a function that fills a range of rows in place. Each range has a fixed size and is
computed by one thread, BLAS included, so that 1 and 64 cores give the same bits. Python threads
around kernels that release the GIL are used instead of numba's ``prange``: they need no second
compilation, leave no thread pool to a later fork, and change no global setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

Ranges = Callable[[Callable[[int, int], None], int, int], None]


def cores() -> int:
    """Cores available to this process; ``NUMBA_NUM_THREADS`` lowers the number, as it does for numba."""
    from numba import config

    return int(config.NUMBA_NUM_THREADS)


@contextmanager
def in_ranges(threads: int | None = None) -> Iterator[Ranges]:
    """Yield ``ranges(work, rows, size)``: it calls ``work(start, stop)`` for every range of ``size`` rows and waits.

    Args:
        threads: Number of threads; None for `cores`. Affects the run time only.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(threads or cores()) as pool:

        def ranges(work: Callable[[int, int], None], rows: int, size: int) -> None:
            if 0 < rows <= size:  # one range: no thread has to wake up
                work(0, rows)
                return
            starts = range(0, rows, size)
            for _ in pool.map(lambda start: work(start, min(start + size, rows)), starts):
                pass

        yield ranges
