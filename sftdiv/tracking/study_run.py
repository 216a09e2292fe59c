"""The summary run of a study in W&B, beside the runs of its cells, with the numbers that dashboards compare studies by.

It takes plain numbers, tables, figures and the report, and sends them to a run of job type ``study`` in the study's
group. The run's id derives from the study's name, so that a second analysis continues it. W&B's failure never fails an
analysis.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.storage.cell import RESULT, read_row
from sftdiv.storage.file_digests import read_sealed, write_sealed
from sftdiv.storage.files import finite
from sftdiv.tracking.contents import config_of, wandb_table
from sftdiv.tracking.session import FAILURES, Destination, end_run, start_run

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
KIND = "study"  # name, kind and tag of the summary run
DESTINATION = ("project", "entity", "mode", "timeout")


def study_as_run(summary: StudySummary) -> TrackedRun:
    """The run that a study's summary is tracked as, with any service."""
    config = {"study": summary.name}
    return TrackedRun(study=summary.name, name=KIND, folder=summary.folder, config=config, kind=KIND, tags=[KIND])


def log_study(destination: Destination, summary: StudySummary) -> None:
    """Send a study's summary to W&B.

    Args:
        destination: Project, entity and mode.
        summary: Numbers go into the run's summary, each table becomes a W&B table, the report an artifact of type
            ``report`` and a page.

    Raises:
        SftdivError: Online is asked for and no key is known.
    """
    run = start_run(destination, study_as_run(summary))
    if run is None:
        return
    numbers = finite(summary.numbers)
    write_sealed(_numbers_path(summary.folder), numbers)
    try:
        _send(run, summary)
        run.summary.update(numbers)
        end_run(run, exit_code=0)
    except FAILURES as error:
        log.warning("W&B failed to record the study's summary (%s): files in %s are complete", error, summary.folder)


def _send(run: wandb.Run, summary: StudySummary) -> None:
    import wandb

    media: dict[str, Any] = {f"table/{name}": wandb_table(rows) for name, rows in summary.tables.items()}
    media |= {f"figure/{name}": wandb.Image(str(path)) for name, path in summary.figures.items()}
    if summary.report is not None:
        name = re.sub(r"[^\w.-]", "-", f"{summary.name}-report")
        artifact = wandb.Artifact(name, type="report", description=f"The report of study {summary.name}")
        artifact.add_file(str(summary.report))
        run.log_artifact(artifact)
        media["report"] = wandb.Html(str(summary.report), inject=False)
    run.log(media, commit=True)


def study_numbers(folder: Path) -> dict[str, Any]:
    """The numbers that ``log_study`` last sent for a study; empty where it has sent none."""
    path = _numbers_path(folder)
    return read_sealed(path, way_out="the study's analysis writes it again") if path.exists() else {}


def _numbers_path(folder: Path) -> Path:
    return folder / "wandb" / "study.json"


def tracked_as(folder: Path) -> Destination | None:
    """Where W&B has the cells of a study, by the settings of the first that it tracked; None where it tracked none."""
    for path in sorted(folder.glob(f"*/{RESULT}")):
        tracking = config_of(read_row(path)).get("tracking", {})
        if settings := tracking.get("wandb"):
            return Destination(**{name: settings[name] for name in DESTINATION})
    return None
