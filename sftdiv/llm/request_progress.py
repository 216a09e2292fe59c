"""Progress of a batch of requests: a bar on the terminal's stderr, or a log line per minute elsewhere.

The caller reports each finished task. Shown are the count, the rate and the remaining time. The rate
is the average of this run as a whole, which is steadier than that of the last seconds.
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
LOG_SECONDS = 60.0  # between log lines
REFRESH_SECONDS = 0.25  # between updates of the bar, whose bookkeeping costs more than a request's
Advance = Callable[[bool], None]  # its argument: whether this run sent the requests


@contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """Yield a function to call once per task; the bar is removed from the terminal when the context ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=4
    ) as bar:
        task = bar.add_task(label, total=total, speed="")
        started = logged = refreshed = time.monotonic()
        done, sent, on_terminal = 0, 0, console.is_terminal

        def advance(by_this_run: bool) -> None:
            nonlocal done, sent, logged, refreshed
            done, sent, now = done + 1, sent + by_this_run, time.monotonic()
            if now - refreshed >= REFRESH_SECONDS or done == total:
                refreshed = now
                bar.update(task, completed=done, speed=format_rate(sent, total - done, now - started))
            if on_terminal or now - logged < LOG_SECONDS:
                return
            logged = now
            log.info("%s: %d of %d, %s", label, done, total, format_rate(sent, total - done, now - started))

        yield advance


def format_rate(sent: int, missing: int, seconds: float) -> str:
    """Tasks per second and the remaining time; empty before the first task."""
    if not sent or seconds <= 0:
        return ""
    return f"{sent / seconds:.1f}/s, {timedelta(seconds=round(missing * seconds / sent))} left"
