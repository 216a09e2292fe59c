"""``python -m sftdiv.analyze multirun/STUDY``: the relation between diversity and performance in a study.

Writes the report, tables and figures (see ``pipeline.analyze_study``), prints the slope table and lists the cells that
are missing, with their jobs.
Every multirun ends with the same analysis. ``python -m sftdiv.analyze pair CELL_A CELL_B`` compares
two cells on the same benchmark items (see ``reporting.paired_scores``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.closed_output import outlive_readers


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = argparse.ArgumentParser(
        prog="python -m sftdiv.analyze",
        description="Relate diversity to performance in a finished (or half-finished) study: slopes with intervals, "
        "correlations, controls for length and tokens, shape, variance components and power. Reads result.json of "
        "every cell; trains nothing.",
        epilog="Writes report.html (open it in a browser; needs no network), figures/*.png and *.svg, slopes.csv, "
        "correlations.csv and cells.parquet, and prints the slope table. Runs automatically at the end of every "
        "multirun. `python -m sftdiv.analyze pair CELL_A CELL_B` compares two cells on the same benchmark items; see "
        "`pair --help`.",
    )
    command_line.add_argument("study", type=Path, help="study folder, e.g. multirun/embedded_grid")
    command_line.add_argument("--out", type=Path, metavar="FOLDER", help="output folder (default: the study folder)")
    command_line.add_argument(
        "--no-figures", action="store_true", help="do not write figures/ (png and svg); the page has its own"
    )
    command_line.add_argument(
        "--seed", type=int, default=0, help="seed of the bootstrap intervals of Arena scores (default: %(default)s)"
    )
    command_line.add_argument(
        "--reference",
        choices=("paper", "none"),
        help="published results beside the study's: the paper's slopes, and where the study deviates from its protocol "
        "(default: report.reference of the study's cells)",
    )
    command_line.add_argument(
        "--bundle",
        action="store_true",
        help="also write report/index.html, whose points open the cells: their scores, answers, verdicts and subsets "
        "(default: report.bundle of the study's cells)",
    )
    return command_line


def main(arguments: list[str] | None = None) -> None:
    """Analyze a study or compare two cells; a user error ends with a message and exit code 1."""
    outlive_readers()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["pair"]:
        from sftdiv.reporting.paired_scores import main as pair

        sys.exit(pair(arguments[1:]))
    options = parser().parse_args(arguments)
    from rich.console import Console

    from sftdiv.pipeline.analyze_study import analyze_study, show_analysis
    from sftdiv.storage.folders import user_path
    from sftdiv.sweep.on_multirun_end import print_missing

    try:
        analysis = analyze_study(
            options.study,
            out=options.out,
            draw=not options.no_figures,
            seed=options.seed,
            reference=options.reference,
            bundle=options.bundle,
        )
        show_analysis(analysis, Console(), out=options.out)
        print_missing(user_path(options.study).absolute(), Console())
    except SftdivError as error:
        print_missing(user_path(options.study).absolute(), Console(stderr=True))
        sys.exit(f"sftdiv: {error}")


if __name__ == "__main__":
    main()
