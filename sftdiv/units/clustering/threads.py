"""Work on several cores whose result does not depend on how many there are.

In: a function of a range of rows. Out: nothing; it fills its rows. Each range is one piece of work
of a fixed size on one thread, BLAS included, so that one core and sixty-four give the same bits.
The trade: Python threads around kernels that release the lock, not numba's ``prange``: no second
compilation, no thread pool that a later fork would inherit, nothing global to restore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

Ranges = Callable[[Callable[[int, int], None], int, int], None]


def cores() -> int:
    """Cores that this process may use; ``NUMBA_NUM_THREADS`` lowers it, as it does for numba."""
    from numba import config

    return int(config.NUMBA_NUM_THREADS)


@contextmanager
def in_ranges(threads: int | None = None) -> Iterator[Ranges]:
    """Gives ``ranges(work, rows, size)``, which calls ``work(start, stop)`` for every range of ``size`` rows and waits for all of them.

    Args:
        threads: How many at once; None is `cores`. It changes the time alone.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(threads or cores()) as pool:

        def ranges(work: Callable[[int, int], None], rows: int, size: int) -> None:
            starts = range(0, rows, size)
            for _ in pool.map(lambda start: work(start, min(start + size, rows)), starts):
                pass

        yield ranges
