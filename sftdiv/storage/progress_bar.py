"""Progress of long steps in one style: a bar on a terminal's stderr, a line per minute in a log.

A step that takes less than a second shows nothing. The rate and the remaining time are averages over the work of this
process, which is steadier than that of the last seconds; work of an earlier, interrupted process counts as done but
not as fast. A bar inside another one stays hidden.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)
Item = TypeVar("Item")
DELAY = 1.0  # seconds until a bar appears
LOG_SECONDS = 60.0  # between log lines
REFRESH_SECONDS = 0.25  # between updates of the bar, whose bookkeeping may cost more than a unit of work

_active: list[object] = []  # the bars of this process, the outermost first


class Advance(Protocol):
    """Reports finished work."""

    def __call__(self, count: int = 1, *, earlier: bool = False) -> None:
        """Report ``count`` units of work; ``earlier``: finished by an earlier process, in no time."""
        ...


@contextmanager
def progress_bar(label: str, total: int | None = None, *, unit: str = "") -> Iterator[Advance]:
    """Yield a function that reports finished work; the bar leaves the terminal when the context ends.

    Args:
        label: Name of the step.
        total: Units of work; None if unknown, and then without a remaining time.
        unit: Name of the unit, such as ``rows``.
    """
    started = time.monotonic()
    refreshed, logged = started - REFRESH_SECONDS, started
    done = worked = 0
    is_inner, on_terminal = bool(_active), sys.stderr.isatty()
    with ExitStack() as stack:
        bar: _Update | None = None

        def advance(count: int = 1, *, earlier: bool = False) -> None:
            nonlocal bar, done, worked, refreshed, logged
            now, done, worked = time.monotonic(), done + count, worked + (0 if earlier else count)
            if is_inner or now - started < DELAY:
                return
            if on_terminal and (now - refreshed >= REFRESH_SECONDS or done == total):
                bar, refreshed = bar or stack.enter_context(_terminal_bar(label, total)), now
                bar(done, progress_text(done, total, worked, now - started, unit))
            elif not on_terminal and now - logged >= LOG_SECONDS:
                logged = now
                log.info("%s: %s", label, progress_text(done, total, worked, now - started, unit))

        _active.append(advance)
        stack.callback(_active.remove, advance)
        yield advance


def tracked(items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "") -> Iterator[Item]:
    """The same items, with a progress bar over them.

    Args:
        items: Items; ``total`` defaults to their number, if they have one.
        label: Name of the step.
        total: Number of items.
        unit: Name of the items.
    """
    total = len(items) if total is None and isinstance(items, Collection) else total
    with progress_bar(label, total, unit=unit) as advance:
        for item in items:
            yield item
            advance()


def progress_text(done: int, total: int | None, worked: int, seconds: float, unit: str = "") -> str:
    """Done and total units, units per second and the remaining time: ``40 of 100 rows, 4.0/s, 0:00:15 left``.

    Args:
        done: Finished units.
        total: All units; None if unknown.
        worked: Those of ``done`` that took ``seconds``; without any, neither rate nor remaining time are known.
        seconds: Time spent.
        unit: Name of the unit.
    """
    counts = f"{done:,}" if total is None else f"{done:,} of {total:,}"
    text = f"{counts} {unit}".rstrip()
    if not worked or seconds <= 0:
        return text
    rate = worked / seconds
    text += f", {rate:,.0f}/s" if rate >= 100 else f", {rate:.1f}/s"
    return text if total is None else f"{text}, {timedelta(seconds=round(max(total - done, 0) / rate))} left"


@contextmanager
def _terminal_bar(label: str, total: int | None) -> Iterator[_Update]:
    """A bar on the terminal; yields the function that sets the done units and the text behind the bar."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task(label, total=total, text="")
        yield lambda done, text: progress.update(task, completed=done, text=text)


class _Update(Protocol):
    def __call__(self, done: int, text: str) -> None: ...
