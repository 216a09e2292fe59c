"""The end of a multirun: analysis of the study, list of unfinished cells, and the command that resumes them.

The inputs are the sweep's plan and the folders of its cells. The outputs are the slope table in the
terminal, the report and its tables in the study's folder, and the study's summary in every tracker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sftdiv.protocols import Tracking
from sftdiv.records import SftdivError
from sftdiv.reporting.terminal import aligned_lines, print_lines
from sftdiv.storage.cell import read_failure, stage_of
from sftdiv.sweep.plan import PlannedCell, load_plan


def finish_multirun(
    study: Path, tracking: Sequence[Tracking], console: Console, *, reference: str | None = None
) -> bool:
    """Analyze the finished cells of a study and list the unfinished ones.

    Args:
        study: Folder of the study.
        tracking: Trackers that receive the study's summary.
        console: Console to print to.
        reference: Published results beside the study's; see `analyze_study`.

    Returns:
        Whether every cell is finished.
    """
    command, cells = load_plan(study)
    unfinished = [cell for cell in cells if not cell.done]
    if len(unfinished) < len(cells):
        _analyze(study, tracking, console, reference)
    if unfinished:
        _print_unfinished(unfinished, len(cells), command, console)
    return not unfinished


def _analyze(study: Path, tracking: Sequence[Tracking], console: Console, reference: str | None) -> None:
    """Write, print and track the analysis of the finished cells; too few cells do not make the sweep fail."""
    from sftdiv.pipeline.analyze_study import analyze_study, show_analysis
    from sftdiv.sweep.study_summary import track_study
    from sftdiv.tracking.session import sync_line

    try:
        analysis = analyze_study(study, reference=reference)
    except SftdivError as error:
        console.print(f"no analysis: {error}", markup=False, highlight=False)
        return
    show_analysis(analysis, console)
    track_study(tracking, analysis)
    if tracking and (line := sync_line(study)):
        console.print(f"W&B was offline; to upload all runs: {line}", markup=False, highlight=False, soft_wrap=True)


def _reason(cell: PlannedCell) -> tuple[str, str]:
    """Stage and message of an unfinished cell."""
    if cell.failed:
        failure = read_failure(cell.folder)
        return failure["stage"], failure["message"]
    stage = stage_of(cell.folder)
    if stage:
        return stage, "killed together with the process that launched it"
    return "not started", "the sweep stopped earlier"


def _print_unfinished(unfinished: Sequence[PlannedCell], total: int, command: str, console: Console) -> None:
    rows = [(cell.folder.name, *_reason(cell)) for cell in unfinished]
    title = f"{len(unfinished):,} of {total:,} cells are not finished"
    print_lines(console, [title, *aligned_lines([("cell", "stage", "message"), *rows])])
    console.print(
        "Tracebacks: failure.json and log.txt in each cell's folder. The same command resumes:", highlight=False
    )
    console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)
