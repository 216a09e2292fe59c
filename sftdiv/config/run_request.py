"""A requested run: its specification, and the settings that do not affect its result.

The latter say where the result is stored and tracked, whether it is exported and published, and how a sweep
runs its cells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.config.spec import RunSpec
from sftdiv.protocols import ShardExecutor, Tracking
from sftdiv.records import SftdivError
from sftdiv.release.export.write_export import FORMATS, check_name
from sftdiv.release.hub.push import check_push, repository
from sftdiv.storage.cell import Cell
from sftdiv.storage.folders import check_folder, check_names
from sftdiv.storage.validate import check_one_of, check_range, shown_value


@dataclass(frozen=True, kw_only=True)
class PathsSpec:
    """Output folders.

    Attributes:
        outputs: Results of single runs.
        multirun: Results of sweeps.
        cache: Cached artifacts.
    """

    outputs: Path
    multirun: Path
    cache: Path


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Export of the subset in another program's format; see ``release.export``.

    Attributes:
        format: One of ``FORMATS``; None exports nothing.
        folder: Destination; None for ``export/`` in the cell's folder.
        name: Name of the dataset; None for the cell's name.
    """

    format: str | None
    folder: Path | None
    name: str | None

    def __post_init__(self) -> None:
        check_one_of("export.format", self.format, (None, *FORMATS))
        if self.name is not None:
            check_name(self.name)


@dataclass(frozen=True, kw_only=True)
class PublishSpec:
    """Upload of the model to the Hub.

    Attributes:
        target: ``OWNER/MODEL``, or ``OWNER/`` for the cell's name; None uploads nothing.
        private: Whether the repository is private.
    """

    target: str | None
    private: bool


@dataclass(frozen=True, kw_only=True)
class CostSpec:
    """Assumptions of the cost of a sweep.

    Attributes:
        conversation_tokens: Mean tokens of a conversation; None if unknown.
        parameters: Parameters of the model; None if unknown.
        mfu: Model FLOPs utilization, in (0, 1].
        peak_tflops: Peak of a GPU in 10^12 FLOP/s.
    """

    conversation_tokens: float | None
    parameters: int | None
    mfu: float
    peak_tflops: float

    def __post_init__(self) -> None:
        check_range("sweep.cost.conversation_tokens", self.conversation_tokens, above=0, optional=True)
        check_range("model.parameters", self.parameters, least=1, whole=True, optional=True)
        check_range("sweep.cost.mfu", self.mfu, above=0, most=1)
        check_range("sweep.cost.peak_tflops", self.peak_tflops, above=0)


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """Execution of a sweep's cells.

    Attributes:
        cost: Assumptions of the stated cost.
        on_error: ``continue`` or ``stop`` after a failed cell.
        isolate: ``forkserver``, ``spawn``, True (forkserver) or False (no child process).
        wait: Whether the command waits for the cells that it starts.
    """

    cost: CostSpec
    on_error: str
    isolate: bool | str
    wait: bool

    def __post_init__(self) -> None:
        check_one_of("sweep.on_error", self.on_error, ("continue", "stop"))
        check_one_of("sweep.isolate", self.isolate, (True, False, "forkserver", "spawn"))


def check_study(name: str) -> None:
    """Refuse a name that is no plain name of a folder: it stands in paths, pages and commands.

    Raises:
        SftdivError: With the name.
    """
    is_plain = name.isprintable() and name.strip() == name and not re.search(r"[/\\]|^\w+:", name)
    if not name or not is_plain or name in (".", ".."):
        raise SftdivError(f"study={shown_value(name)} must be a plain folder name, such as study=my_study")
    check_names("study", Path(name))


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run and the settings that do not affect its result.

    Attributes:
        spec: Specification of the run.
        study: Name of the study; a plain folder name.
        paths: Output folders.
        tracking: Chosen trackers.
        export: Export of the subset.
        publish: Upload of the model.
        sweep: Execution of a sweep's cells.
        compute: Execution of the work on single rows of the corpus.
        command: Command that reproduces the run.
        settings: All resolved settings as plain nested values, for ``config.yaml`` and ``config.*``.
        text: The same settings as YAML.
    """

    spec: RunSpec
    study: str
    paths: PathsSpec
    tracking: Sequence[Tracking]
    export: ExportSpec
    publish: PublishSpec
    sweep: SweepSpec
    compute: ShardExecutor
    command: str
    settings: Mapping[str, Any]
    text: str

    def __post_init__(self) -> None:
        check_study(self.study)
        if self.export.format is not None and self.spec.selection.size.nothing:
            raise SftdivError(
                f"export.format={self.export.format} has nothing to export: with size=none nothing is selected"
            )
        if self.publish.target is not None and self.spec.stop_after != "select":
            check_push(repository(self.publish.target, "model"), private=self.publish.private)

    def check_export_folder(self, cell: Cell) -> None:
        """Refuse a folder for the export that cannot be written; nothing is exported without ``export.format``.

        Raises:
            SftdivError: With the reason and the way out.
        """
        if self.export.format is not None:
            check_folder("export.folder" if self.export.folder else "paths", self.export.folder or cell.folder)

    def single_cell(self) -> Cell:
        """Cell of a single run."""
        return self.spec.cell(self.study, self.paths.outputs)

    def sweep_cell(self) -> Cell:
        """Cell of a run in a sweep."""
        return self.spec.cell(self.study, self.paths.multirun)
