"""``python -m sftdiv.analyze pair CELL_A CELL_B``: paired difference of two cells on the same benchmark items.

Reads the item scores of both cells (``evaluation/OPTION/TASK.parquet``). Prints, for every task and
metric that both have, the score of B minus that of A, its paired standard error and 95 % interval, and
for right-or-wrong scores the items that only one of the cells has right and the p-value of McNemar's
exact test, as a table or, with ``--json``, as one object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sftdiv.evaluation.paired import Difference, compare_cells
from sftdiv.records import SftdivError
from sftdiv.reporting.format import MISSING, format_number, is_missing
from sftdiv.reporting.terminal import aligned_lines
from sftdiv.storage.files import finite

HEADINGS = (
    *("score", "items", "A", "B", "B - A", "stderr", "95 % interval", "unpaired stderr"),
    *("only A right", "only B right", "McNemar p"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two cells.

    Args:
        arguments: Command-line arguments; None for those of the process.

    Returns:
        Exit code: 0, or 1 if the cells cannot be compared.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sftdiv.analyze pair", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="CELL_A", help="folder of a cell, such as outputs/single/CELL")
    parser.add_argument("second", type=Path, metavar="CELL_B", help="folder of the other cell")
    parser.add_argument(
        "--task", action="append", metavar="NAME", help="a task or group to compare; may be repeated; default: all"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, by score")
    options = parser.parse_args(arguments)
    try:
        differences = compare_cells(options.first, options.second, tasks=options.task)
    except SftdivError as error:
        print(f"sftdiv: {error}", file=sys.stderr)
        return 1
    if options.json:
        by_score = {name: finite(asdict(difference)) for name, difference in differences.items()}
        print(json.dumps(by_score, indent=1, allow_nan=False))
    else:
        print(_table(differences))
    return 0


def _table(differences: Mapping[str, Difference]) -> str:
    rows = [HEADINGS, *(_row(name, difference) for name, difference in differences.items())]
    return "\n".join(aligned_lines(rows, numbers=True))


def _row(name: str, difference: Difference) -> tuple[str, ...]:
    low, high = format_number(difference.low, plus=True), format_number(difference.high, plus=True)
    return (
        name,
        f"{difference.items:,}",
        format_number(difference.first),
        format_number(difference.second),
        format_number(difference.difference, plus=True),
        format_number(difference.stderr),
        MISSING if is_missing(difference.low) else f"[{low}, {high}]",
        format_number(difference.unpaired),
        *(MISSING if count is None else f"{count:,}" for count in (difference.only_first, difference.only_second)),
        format_number(difference.exact_p),
    )
