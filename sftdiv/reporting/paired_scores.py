"""``python -m sftdiv.paired CELL_A CELL_B``: how far two cells differ on the same benchmark items.

In: two cells' folders with what their models did with each item
(``evaluation/OPTION/TASK.parquet``). Out: for every task and metric that both have, B's score minus
A's, its paired standard error and 95 % interval, as a table or (``--json``) as one object.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sftdiv.evaluation.paired import Difference, compare_cells
from sftdiv.records import SftdivError

HEADINGS = ("score", "items", "A", "B", "B - A", "stderr", "95 % interval", "unpaired stderr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two cells; the exit code is 0, and 1 where they cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m sftdiv.paired", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="CELL_A", help="a cell's folder, such as outputs/single/CELL")
    parser.add_argument("second", type=Path, metavar="CELL_B", help="the other one's")
    parser.add_argument("--json", action="store_true", help="one JSON object, by score")
    given = parser.parse_args(arguments)
    try:
        found = compare_cells(given.first, given.second)
    except SftdivError as error:
        print(f"sftdiv: {error}", file=sys.stderr)
        return 1
    print(
        json.dumps({name: _plain(each) for name, each in found.items()}, indent=1, allow_nan=False)
        if given.json
        else _table(found)
    )
    return 0


def _plain(each: Difference) -> dict[str, float | None]:
    """With None for NaN, which every JSON reader knows."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(each).items()}


def _table(found: Mapping[str, Difference]) -> str:
    rows = [HEADINGS, *(_row(name, each) for name, each in found.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    aligned = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return "\n".join("  ".join(row) for row in aligned)


def _row(name: str, each: Difference) -> tuple[str, ...]:
    interval = f"[{each.low:+.4g}, {each.high:+.4g}]"
    numbers = (f"{each.first:.4g}", f"{each.second:.4g}", f"{each.difference:+.4g}", f"{each.stderr:.4g}")
    return (name, f"{each.items:,}", *numbers, interval, f"{each.unpaired:.4g}")


if __name__ == "__main__":
    sys.exit(main())
