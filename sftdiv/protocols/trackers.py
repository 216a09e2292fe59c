"""Trackers: the services that receive the numbers of runs and studies. They change no result and have no identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """Description of a run, sent to a tracker when the run starts.

    Attributes:
        study: Name of the study.
        name: Name of the cell, unique in its study.
        folder: Folder of the study.
        config: Nested settings of the run.
        kind: Kind of run, as the column ``kind`` of the result row, or ``study``.
        tags: Words to filter runs by.
    """

    study: str
    name: str
    folder: Path
    config: Mapping[str, Any]
    kind: str
    tags: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """Results of the analysis of a study.

    Attributes:
        folder: Folder of the study.
        name: Name of the study.
        numbers: Values by flat names, such as ``slope.level.micro_token.response.1000.tiny.unmatched``; may contain
            text and None.
        tables: Data frames, or lists of rows, by name.
        figures: Image files by name.
        report: HTML report; None without one.
    """

    folder: Path
    name: str
    numbers: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame | Sequence[Mapping[str, Any]]]
    figures: Mapping[str, Path]
    report: Path | None


class Tracker(Protocol):
    """Receives the numbers of a run while it runs. A failing tracker never fails the run."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record the metrics of one optimizer step."""
        ...

    def samples(self, path: Path) -> None:
        """Record the generations of a JSON-lines file."""
        ...

    def finish(self, row: Mapping[str, Any], exit_code: int) -> None:
        """Record the final numbers and close the run; a second call does nothing."""
        ...


class RunLogger(Protocol):
    """The methods of Lightning's ``Logger`` that are called here; every Lightning logger has them.

    A logger may have two more, which Lightning's interface lacks: ``log_summary(row)``, called once before
    ``finalize``, and ``log_samples(path)``, called with a JSON-lines file of generations (see
    `sftdiv.tracking.run_tracker`).
    """

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record the metrics of one optimizer step."""
        ...

    def finalize(self, status: str) -> None:
        """Close the run as ``success`` or ``failed``."""
        ...


class Tracking(Protocol):
    """A tracking service, built by an option of the config group ``tracking``."""

    def start(self, run: TrackedRun) -> RunLogger:
        """Open a run: a Lightning ``Logger``, or an object with its interface."""
        ...

    def log_study(self, summary: StudySummary) -> None:
        """Record the summary of a study as one run beside its cells."""
        ...
