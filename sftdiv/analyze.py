"""``python -m sftdiv.analyze multirun/STUDY``: the relation between diversity and performance in a study.

Writes the report, tables and figures of ``pipeline.analyze_study`` and prints the slope table.
Every multirun ends with the same analysis.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from sftdiv.pipeline.analyze_study import analyze_study, show_analysis
from sftdiv.records import SftdivError


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
