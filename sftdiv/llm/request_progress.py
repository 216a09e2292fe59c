"""How far an interview is: a bar on the terminal's stderr, or, where stderr is no terminal, a line in the log each minute.

In: one call a question that was answered or that an earlier run had answered. Out: count, speed and
time left. The trade: the speed is that of this run as a whole, which jumps less than that of the
last seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

log = logging.getLogger(__name__)
EVERY = 60.0  # seconds between lines in the log
Advance = Callable[[bool], None]  # whether this run asked


@contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """A function to call once a question; what it shows is gone from the terminal when the context ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=4
    ) as bar:
        task = bar.add_task(label, total=total, speed="")
        started = told = shown = time.monotonic()
        done, asked, on_terminal = 0, 0, console.is_terminal

        def advance(by_this_run: bool) -> None:
            nonlocal done, asked, told, shown
            done, asked, now = done + 1, asked + by_this_run, time.monotonic()
            if now - shown >= 0.25 or done == total:  # the bar's own bookkeeping costs more than a request's
                shown = now
                bar.update(task, completed=done, speed=speed(asked, total - done, now - started))
            if on_terminal or now - told < EVERY:
                return
            told = now
            log.info("%s: %d of %d, %s", label, done, total, speed(asked, total - done, now - started))

        yield advance


def speed(asked: int, missing: int, seconds: float) -> str:
    """Questions a second and the time left."""
    if not asked or seconds <= 0:
        return ""
    return f"{asked / seconds:.1f}/s, {timedelta(seconds=round(missing * seconds / asked))} left"
