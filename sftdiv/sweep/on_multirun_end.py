"""The end of a multirun: analysis of the study, list of unfinished cells, and the command that resumes them.

The inputs are the sweep's plan and the folders of its cells. The outputs are the slope table in the
terminal, the report and its tables in the study's folder, and the study's summary in every tracker.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from sftdiv.protocols import Tracking
from sftdiv.records import SftdivError
from sftdiv.reporting.terminal import aligned_lines, print_lines
from sftdiv.storage.cell import read_failure, stage_of
from sftdiv.storage.file_digests import DamagedFileError
from sftdiv.sweep.plan import PlannedCell, load_plan
from sftdiv.sweep.submitted import SubmittedJob, alive_jobs, describe_job, job_of


def finish_multirun(
    study: Path,
    tracking: Sequence[Tracking],
    console: Console,
    *,
    reference: str | None = None,
    bundle: bool = False,
    wait: bool = True,
) -> bool:
    """Analyze the finished cells of a study and list the unfinished ones.

    Args:
        study: Folder of the study.
        tracking: Trackers that receive the study's summary.
        console: Console to print to.
        reference: Published results beside the study's; see `analyze_study`.
        bundle: Whether to write the pages of single cells; see `analyze_study`.
        wait: Whether the command waited for the cells; else the study is analyzed only if it is complete.

    Returns:
        Whether every cell is finished, or, without a wait, has a job.
    """
    command, cells = load_plan(study)
    unfinished = [cell for cell in cells if not cell.done]
    if len(unfinished) < len(cells) and (wait or not unfinished):
        _analyze(study, tracking, console, reference, bundle)
    if not unfinished:
        return True
    alive = alive_jobs(cell.folder for cell in unfinished)
    _print_unfinished(unfinished, alive, len(cells), command, console)
    if not wait:
        shown = f"What is missing: python -m sftdiv.analyze {shlex.quote(str(study))}"
        console.print(shown, highlight=False, markup=False, soft_wrap=True)
    return not wait and len(alive) == len(unfinished)


def print_missing(study: Path, console: Console) -> None:
    """Print the unfinished cells of a study; nothing where every cell is finished or no sweep has planned them."""
    try:
        command, cells = load_plan(study)
    except (FileNotFoundError, DamagedFileError):
        return
    unfinished = [cell for cell in cells if not cell.done]
    if not unfinished:
        return
    try:
        alive = alive_jobs(cell.folder for cell in unfinished)
    except SftdivError as error:
        console.print(f"{len(unfinished):,} cells are not finished. {error}", markup=False, highlight=False)
        return
    _print_unfinished(unfinished, alive, len(cells), command, console)


def _analyze(study: Path, tracking: Sequence[Tracking], console: Console, reference: str | None, bundle: bool) -> None:
    """Write, print and track the analysis of the finished cells; too few cells do not make the sweep fail."""
    from sftdiv.pipeline.analyze_study import analyze_study, show_analysis
    from sftdiv.sweep.study_summary import track_study
    from sftdiv.tracking.session import sync_line

    try:
        analysis = analyze_study(study, reference=reference, bundle=bundle)
    except SftdivError as error:
        console.print(f"no analysis: {error}", markup=False, highlight=False)
        return
    show_analysis(analysis, console)
    track_study(tracking, analysis)
    if tracking and (line := sync_line(study)):
        console.print(f"W&B was offline; to upload all runs: {line}", markup=False, highlight=False, soft_wrap=True)


def _reason(cell: PlannedCell, alive: Mapping[Path, SubmittedJob]) -> tuple[str, str]:
    """Stage and message of an unfinished cell."""
    job = job_of(cell.folder)
    if job is not None and not cell.failed:
        return describe_job(cell.folder, job, alive=cell.folder in alive)
    if cell.failed:
        failure = read_failure(cell.folder)
        return failure["stage"], failure["message"]
    stage = stage_of(cell.folder)
    if stage:
        return stage, "running, or killed together with the process that launched it"
    return "not started", "the sweep stopped earlier"


def _print_unfinished(
    unfinished: Sequence[PlannedCell],
    alive: Mapping[Path, SubmittedJob],
    total: int,
    command: str,
    console: Console,
) -> None:
    rows = [(cell.folder.name, *_reason(cell, alive)) for cell in unfinished]
    title = f"{len(unfinished):,} of {total:,} cells are not finished"
    print_lines(console, [title, *aligned_lines([("cell", "stage", "message"), *rows])])
    effect = "adopts the jobs and starts the other cells" if alive else "resumes"
    console.print(
        f"Tracebacks: failure.json and log.txt in each cell's folder. The same command {effect}:", highlight=False
    )
    console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)
