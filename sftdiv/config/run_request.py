"""A run as it is asked for: its specification, and what changes nothing about its result.

Where the result is kept and tracked, exported and published, and how a sweep runs its cells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.config.spec import RunSpec
from sftdiv.protocols import Tracking
from sftdiv.records import SftdivError
from sftdiv.release.export.write_export import FORMATS
from sftdiv.release.hub.push import check_push, repository
from sftdiv.storage.cell import Cell
from sftdiv.storage.validate import check_one_of


@dataclass(frozen=True, kw_only=True)
class PathsSpec:
    """Folders: results of single runs, results of sweeps, cached artifacts."""

    outputs: Path
    multirun: Path
    cache: Path


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """The subset in another program's format; see ``release.export``.

    Attributes:
        format: One of ``FORMATS``; None exports nothing.
        folder: Destination; None for ``export/`` in the cell's folder.
        name: Name of the data set; None for the cell's.
    """

    format: str | None
    folder: Path | None
    name: str | None

    def __post_init__(self) -> None:
        check_one_of("export.format", self.format, (None, *FORMATS))


@dataclass(frozen=True, kw_only=True)
class PublishSpec:
    """Upload of the model to the hub.

    Attributes:
        target: ``OWNER/MODEL``, or ``OWNER/`` for the cell's name; None uploads nothing.
        private: Whether the repository is private.
    """

    target: str | None
    private: bool


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """How a sweep runs its cells.

    Attributes:
        on_error: ``continue`` or ``stop`` after a failed cell.
        isolate: ``forkserver``, ``spawn``, True (forkserver) or False (no process of its own).
    """

    on_error: str
    isolate: bool | str

    def __post_init__(self) -> None:
        check_one_of("sweep.on_error", self.on_error, ("continue", "stop"))
        check_one_of("sweep.isolate", self.isolate, (True, False, "forkserver", "spawn"))


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run and what changes nothing about its result.

    Attributes:
        spec: The run.
        study: Name of the study; a plain folder name.
        paths: Folders.
        tracking: Trackers.
        export: Export of the subset.
        publish: Upload of the model.
        sweep: How a sweep runs its cells.
        command: The command that makes this run again.
        settings: Every resolved setting, as plain nested values, for ``config.yaml`` and ``config.*``.
        text: The same as YAML.
    """

    spec: RunSpec
    study: str
    paths: PathsSpec
    tracking: Sequence[Tracking]
    export: ExportSpec
    publish: PublishSpec
    sweep: SweepSpec
    command: str
    settings: Mapping[str, Any]
    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/\\\0]+", self.study) or self.study in (".", ".."):
            raise SftdivError(f"study={self.study!r} must be a plain folder name, such as study=my_study")
        if self.export.format is not None and self.spec.selection.size.nothing:
            raise SftdivError(
                f"export.format={self.export.format} has nothing to write: with size=none nothing is selected"
            )
        if self.publish.target is not None and self.spec.stop_after != "select":
            check_push(repository(self.publish.target, "model"), private=self.publish.private)

    def single_cell(self) -> Cell:
        """The folder of a single run."""
        return self.spec.cell(self.study, self.paths.outputs)

    def sweep_cell(self) -> Cell:
        """The folder of a run of a sweep."""
        return self.spec.cell(self.study, self.paths.multirun)
