"""Work on blocks of texts by several processes, since Python's regular expressions and dictionaries use one core.

Processes of joblib's loky are used: they are started without a fork, and the script that imported this package is not
run again in them, as it would be by the standard library's unless it guards its main part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeVar

Block = TypeVar("Block")
Result = TypeVar("Result")
FEWEST = 10  # blocks for which processes are started, which takes each about half a second
AHEAD = 3  # blocks per process that are computed before their results are asked for


def in_processes(
    function: Callable[[Block], Result], blocks: Iterable[Block], *, processes: int | None = None
) -> Iterator[Result]:
    """Results of a function, in the order of its blocks; the same with any number of processes.

    At most `AHEAD` blocks per process are in memory.

    Args:
        function: Function of a module, or a partial of one: it is sent to the processes by name.
        blocks: Inputs, each worth tens of milliseconds; read in this process.
        processes: Number of processes; 1 computes here, None takes the cores (``NUMBA_NUM_THREADS`` lowers them), or
            one for fewer than `FEWEST` blocks.
    """
    remaining = iter(blocks)
    if processes is None:
        from sftdiv.vectors.threads import cores

        first = list(islice(remaining, FEWEST))
        processes = cores() if len(first) == FEWEST else 1
        remaining = chain(first, remaining)
    if processes == 1:
        yield from map(function, remaining)
        return
    yield from in_other_processes(function, remaining, processes=processes)


def in_other_processes(
    function: Callable[[Block], Result], blocks: Iterable[Block], *, processes: int
) -> Iterator[Result]:
    """As `in_processes`, but never in this process.

    Raises:
        BrokenProcessPool: If a process is killed; the others are ended.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=processes) as executor:
        pending: deque[Any] = deque()
        for block in blocks:
            pending.append(executor.submit(function, block))
            if len(pending) >= AHEAD * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
