"""Analyzes a study folder and writes its report.

The input is a folder of finished cells. The output, in the same folder unless another one is named,
is ``report.html``, ``figures/``, ``slopes.csv``, ``correlations.csv``, ``cells.parquet`` and, where
a judge compared the cells, ``arena.csv``; on request ``report/``, the report with a page per cell.
Everything is recomputed on every call, which takes seconds, so that no output is older than the cells.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from rich.console import Console

from sftdiv.analysis.analysis import Analysis, analyze
from sftdiv.analysis.study import load_study
from sftdiv.analysis.study_files import write_tables
from sftdiv.diversity.registry import PAPER_METRICS, detail_columns
from sftdiv.evaluation.judge.arena import TABLE as ARENA
from sftdiv.evaluation.judge.arena import Arena, read_arena, write_arena
from sftdiv.evaluation.judge.arena_verdicts import judged_cells
from sftdiv.pipeline.write_bundle import BUNDLE, write_bundle
from sftdiv.records import SftdivError
from sftdiv.reporting.bundle.bundle_contents import ANSWERS, page_of
from sftdiv.reporting.study.study_figures import write_figures
from sftdiv.reporting.study.study_page import render_page
from sftdiv.reporting.study.study_terminal import slope_table
from sftdiv.storage.file_digests import DamagedFileError, read_sealed
from sftdiv.storage.files import write_atomically
from sftdiv.storage.folders import check_folder, user_path
from sftdiv.storage.validate import check_one_of

log = logging.getLogger(__name__)
REPORT = "report.html"
SWEEP = "sweep.json"  # holds the command of the sweep
REFERENCES = ("paper", "none")
ARENA_DRAWS = 1000  # bootstrap samples of the Arena scores


def analyze_study(
    folder: Path,
    *,
    out: Path | None = None,
    draw: bool = True,
    seed: int = 0,
    reference: str | None = None,
    bundle: bool = False,
) -> Analysis:
    """Analyze a study and write its tables, figures and report.

    Args:
        folder: Study folder, with one folder per cell.
        out: Output folder; None for the study folder.
        draw: Whether to draw the static figures. The report has its own.
        seed: Seed of the bootstrap of the Arena scores.
        reference: Published results beside the study's, one of ``REFERENCES``; None for the ``report.reference`` of the
            study's cells.
        bundle: Whether to write the pages of single cells too, into ``report/``; also written if a cell has
            ``report.bundle=true``, or if there is a bundle already, which would be older than the cells.

    Returns:
        The tables, as written.

    Raises:
        SftdivError: The folder is not a study, or none of its cells is finished.
    """
    folder = user_path(folder).absolute()
    out = user_path(out or folder, name="--out").absolute()
    check_one_of("report.reference", reference, (None, *REFERENCES))
    analysis = analyze_cells(folder)
    reference = reference or _reference_of(analysis)
    check_folder("--out", out)
    arena, analysis = _arena(folder, analysis, seed=seed)
    paths = [*write_tables(analysis, out), *(write_figures(analysis, out / "figures") if draw else [])]
    if arena:
        write_arena(arena, out / ARENA)
        paths.append(out / ARENA)
    options = [] if seed == 0 else ["--seed", str(seed)]
    if reference != _reference_of(analysis):
        options += ["--reference", reference]

    def page(link: Callable[[str], str], above: str = "", answers_page: str | None = None) -> str:
        return render_page(
            analysis,
            link=link,
            answers_page=answers_page,
            beside=[f"{above}{path.relative_to(out).as_posix()}" for path in paths],
            analyze_command=shlex.join(["python", "-m", "sftdiv.analyze", f"multirun/{folder.name}", *options]),
            command=_sweep_command(folder),
            settings=_yaml(analysis.study.settings[str(analysis.study.cells["cell"].iloc[0])]),
            standings=pd.DataFrame(arena.rows()) if arena else None,
            standing_words=_describe(arena) if arena else "",
            with_paper=reference == "paper",
        )

    prefix = "" if out == folder else quote(f"{os.path.relpath(folder, out)}/".replace(os.sep, "/"))
    write_atomically(out / REPORT, page(lambda cell: f"{prefix}{quote(cell, safe='')}/"))
    if bundle or _chosen(analysis, "report.bundle", True) or (out / BUNDLE).exists():
        report = page(page_of, above="../", answers_page=ANSWERS)
        write_bundle(folder, out, cells=analysis.study.cells, report=report)
    return analysis


def analyze_cells(folder: Path) -> Analysis:
    """All tables of a study, from the rows of its finished cells; nothing is written.

    Args:
        folder: Folder of the study.

    Raises:
        SftdivError: The folder is not a study, or none of its cells has a score.
    """
    return analyze(load_study(folder), first_metrics=PAPER_METRICS, detail_metrics=detail_columns())


def show_analysis(analysis: Analysis, console: Console, *, out: Path | None = None) -> None:
    """Print the slope table, the notes and the path of the report.

    Args:
        analysis: Analysis of the study.
        console: Console to print to.
        out: Folder of the report; None for the study folder.
    """
    if analysis.study.cells["performance"].notna().any():
        console.print(slope_table(analysis))
    for note in analysis.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(f"report: {(out or analysis.study.folder) / REPORT}", markup=False, highlight=False, soft_wrap=True)
    if (pages := (out or analysis.study.folder) / BUNDLE).exists():
        console.print(f"pages of the cells: {pages}", markup=False, highlight=False, soft_wrap=True)


def _arena(folder: Path, analysis: Analysis, *, seed: int) -> tuple[Arena | None, Analysis]:
    """Arena scores of the judged cells. If the cells cannot be compared, a note in the analysis says why."""
    if not judged_cells(folder):
        return None, analysis
    try:
        return read_arena(folder, draws=ARENA_DRAWS, seed=seed), analysis
    except SftdivError as error:
        return None, replace(analysis, notes=(*analysis.notes, f"no Arena scores: {error}"))


def _reference_of(analysis: Analysis) -> str:
    """The reference that the study's cells were run with."""
    return "paper" if _chosen(analysis, "report.reference", "paper") else "none"


def _chosen(analysis: Analysis, setting: str, value: object) -> bool:
    """Whether a cell of the study was run with this value of a setting."""
    settings = analysis.study.settings
    return any(settings[str(cell)].get(setting) == value for cell in analysis.study.cells["cell"])


def _describe(arena: Arena) -> str:
    judge = f"judged by {arena.judge} ({arena.template}) on {arena.prompts:,} prompts"
    return f"{judge}; {arena.baseline} has 1000"


def _sweep_command(folder: Path) -> str | None:
    path = folder / SWEEP
    try:
        command = read_sealed(path, way_out="the sweep's command writes it again").get("command")
    except FileNotFoundError:
        return None
    except DamagedFileError as error:  # the page shows a command or none; the numbers do not depend on it
        log.warning("%s", error)
        return None
    return str(command) if command else None


def _yaml(settings: Mapping[str, Any]) -> str | None:
    """Flat settings as nested YAML; None without settings.

    The settings of baselines are overrides (``strategy`` and ``strategy.side`` side by side) and keep their dots.
    """
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        group, name = nested, key
        while "." in name and isinstance(group.setdefault(name.partition(".")[0], {}), dict):
            part, _, name = name.partition(".")
            group = group[part]
        group[name] = value
    return yaml.safe_dump(nested, allow_unicode=True, sort_keys=False, width=10_000).strip() if nested else None
