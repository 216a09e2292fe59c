"""The summary run of a study: one W&B run beside its cells, with the numbers that dashboards compare studies by.

In: plain numbers, tables, figures and the report. Out: a run of job type ``study`` in the study's
group, whose id derives from the study's name, so that a second analysis continues it. W&B's failure
never fails an analysis.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sftdiv.storage.files import write_json
from sftdiv.tracking.contents import finite, table
from sftdiv.tracking.session import FAILURES, Destination, end_run, start_run

if TYPE_CHECKING:
    import pandas as pd
    import wandb

log = logging.getLogger(__name__)
KIND = "study"  # job type and name of the summary run


def log_study(
    where: Destination,
    *,
    folder: Path,
    name: str,
    numbers: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame | Sequence[Mapping[str, Any]]],
    figures: Mapping[str, Path],
    report: Path | None,
) -> None:
    """Send what a study found.

    Args:
        where: The project, entity and mode; ``tracked_as`` finds those of the study's cells.
        folder: The study's folder.
        name: The study's name.
        numbers: Flat names, such as ``slope.micro_token.response.1000.unmatched``, for the summary;
            text and None pass too.
        tables: Name to frame or rows; one table each.
        figures: Name to image file.
        report: ``report.html``, kept as an artifact of type ``report`` and shown as a page.

    Raises:
        SftdivError: If online is asked for and no key is known.
    """
    run = start_run(where, folder=folder, group=name, name=KIND, kind=KIND, tags=[KIND], config={"study": name})
    if run is None:
        return
    write_json(_numbers(folder), finite(numbers))
    try:
        _send(run, name, tables, figures, report)
        run.summary.update(finite(numbers))
        end_run(run, exit_code=0)
    except FAILURES as error:
        log.warning(
            "W&B did not take the study's summary (%s): its files in %s are complete all the same", error, folder
        )


def _send(
    run: wandb.Run,
    name: str,
    tables: Mapping[str, pd.DataFrame | Sequence[Mapping[str, Any]]],
    figures: Mapping[str, Path],
    report: Path | None,
) -> None:
    import wandb

    shown: dict[str, Any] = {f"table/{key}": table(rows) for key, rows in tables.items()}
    shown |= {f"figure/{key}": wandb.Image(str(path)) for key, path in figures.items()}
    if report is not None:
        artifact = wandb.Artifact(
            re.sub(r"[^\w.-]", "-", f"{name}-report"), type="report", description=f"The report of study {name}"
        )
        artifact.add_file(str(report))
        run.log_artifact(artifact)
        shown["report"] = wandb.Html(str(report), inject=False)
    run.log(shown, commit=True)


def study_numbers(folder: Path) -> dict[str, Any]:
    """The numbers that ``log_study`` sent last; none where it sent nothing yet."""
    path = _numbers(folder)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _numbers(folder: Path) -> Path:
    return folder / "wandb" / "study.json"


def tracked_as(folder: Path) -> Destination | None:
    """Where the cells of a study were sent, from the config beside the first of them; None where they were not tracked."""
    for path in sorted(folder.glob("*/config.yaml")):
        tracking = yaml.safe_load(path.read_text(encoding="utf-8")).get("tracking", {})
        if {"project", "entity", "mode", "timeout"} <= tracking.keys():
            return Destination(**{key: tracking[key] for key in ("project", "entity", "mode", "timeout")})
    return None
