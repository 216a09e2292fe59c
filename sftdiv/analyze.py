"""``python -m sftdiv.analyze multirun/STUDY``: the relation between diversity and performance in a study, and its uncertainty.

In: a study's folder of finished cells. Out, in that folder: ``report.html``, ``figures/``,
``slopes.csv``, ``correlations.csv``, ``cells.parquet`` and, where a judge compared the cells,
``arena.csv``; the slope table in the terminal. Every multirun ends in it too. The trade: everything
is made anew each time, in seconds, so that nothing shown can be older than the cells.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from sftdiv.analysis.analysis import Analysis, analyze
from sftdiv.analysis.study import load_study
from sftdiv.analysis.study_files import write_tables
from sftdiv.evaluation.judge.arena import TABLE as ARENA
from sftdiv.evaluation.judge.arena import Arena, read_arena, write_arena
from sftdiv.evaluation.judge.arena_verdicts import judged_cells
from sftdiv.records import SftdivError
from sftdiv.reporting.study.study_figures import write_figures
from sftdiv.reporting.study.study_page import render_page
from sftdiv.reporting.study.study_terminal import slope_table
from sftdiv.storage.files import write_atomically

SWEEP = "sweep.json"  # where a sweep keeps its own command
REPORT = "report.html"
DRAWS = 1000  # of the bootstrap of Arena scores


def analyze_study(folder: Path, *, out: Path | None = None, draw: bool = True, seed: int = 0) -> Analysis:
    """Analyze a study and write everything that people see.

    Args:
        folder: The study's folder, of one folder a cell.
        out: Where to write; None for the study's own folder.
        draw: Whether to draw the static figures (the page has its own).
        seed: Of the bootstraps.

    Returns:
        The tables, as they were written.

    Raises:
        SftdivError: If the folder is no study or none of its cells has a score.
    """
    folder = folder.expanduser().absolute()
    out = (out or folder).expanduser().absolute()
    analysis = analyze(load_study(folder), rng=np.random.default_rng(seed))
    found, analysis = _arena(folder, analysis, seed=seed)
    written = [*write_tables(analysis, out), *(write_figures(analysis, out / "figures") if draw else [])]
    if found:
        write_arena(found, out / ARENA)
        written.append(out / ARENA)
    away = "" if out == folder else f"{os.path.relpath(folder, out)}/".replace(os.sep, "/")
    page = render_page(
        analysis,
        prefix=away,
        beside=[path.relative_to(out).as_posix() for path in written],
        analyze_command=shlex.join(
            ["python", "-m", "sftdiv.analyze", f"multirun/{folder.name}", *([] if seed == 0 else ["--seed", str(seed)])]
        ),
        command=_sweep_command(folder),
        config=_text(folder / str(analysis.study.cells["cell"].iloc[0]) / "config.yaml"),
        standings=pd.DataFrame(found.rows()) if found else None,
        standing_words=f"judged by {found.judge} ({found.template}) on {found.prompts:,} prompts; {found.baseline} has 1000"
        if found
        else "",
    )
    write_atomically(out / REPORT, page)
    return analysis


def _arena(folder: Path, analysis: Analysis, *, seed: int) -> tuple[Arena | None, Analysis]:
    """The cells' Arena scores where a judge compared them; a note says why where they do not compare."""
    if not judged_cells(folder):
        return None, analysis
    try:
        return read_arena(folder, draws=DRAWS, seed=seed), analysis
    except SftdivError as error:
        return None, replace(analysis, notes=(*analysis.notes, f"no Arena scores: {error}"))


def show_analysis(analysis: Analysis, console: Console, *, out: Path | None = None) -> None:
    """Print the slope table, the notes, and where the report is: the end of a sweep, and of this command."""
    console.print(slope_table(analysis))
    for note in analysis.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(f"report: {(out or analysis.study.folder) / REPORT}", markup=False, highlight=False, soft_wrap=True)


def _sweep_command(folder: Path) -> str | None:
    plan = _text(folder / SWEEP)
    return json.loads(plan)["command"] if plan else None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m sftdiv.analyze",
        description="Relate diversity to performance in a finished (or half-finished) study: slopes with intervals, correlations, "
        "controls for length and tokens, noise and power. Reads result.json of every cell; trains nothing.",
        epilog="Writes report.html (open it in a browser; needs no network), figures/*.png and *.svg, slopes.csv, correlations.csv and "
        "cells.parquet, and prints the slope table. Runs by itself at the end of every multirun.",
    )
    made.add_argument("study", type=Path, help="the study's folder, e.g. multirun/embedded_grid")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="write there instead of into the study's folder")
    made.add_argument(
        "--no-figures", action="store_true", help="leave out figures/ (png and svg); the page draws its own"
    )
    made.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default: %(default)s)")
    return made


def main(arguments: list[str] | None = None) -> None:
    """The command; a mistake that the user can mend ends as a message and exit code 1."""
    asked = parser().parse_args(arguments)
    try:
        analysis = analyze_study(asked.study, out=asked.out, draw=not asked.no_figures, seed=asked.seed)
    except SftdivError as error:
        sys.exit(f"sftdiv: {error}")
    show_analysis(analysis, Console(), out=asked.out)


if __name__ == "__main__":
    main()
