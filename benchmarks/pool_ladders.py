"""The ladders of six strategy-sides on 117,000 real pairs: seven levels, unmatched and length-matched, as a table.

    python benchmarks/pool_ladders.py ../shared/data/pool-117k.parquet [overrides ...]

Each cell is a `stop_after=select` run through `sftdiv.run.run`; finished cells are read back. The first
cell of a strategy-side includes the cost of its units, and the first of a match that of its ladder; the
others read them from the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sftdiv.config.from_python import compose_run
from sftdiv.run import run

STRATEGIES = ("micro_token", "macro_topic", "meso_tag")
SIDES = ("instruction", "response")
MATCHES = ("none", "length")
LEVELS = tuple(step / 6 for step in range(7))
COLUMNS = ("k_min", "k_max", "k_asked", "k_reached", "pool")


def cells(pool: str, overrides: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of all cells, one after the other."""
    common = [
        "corpus=files",
        f"corpus.path={pool}",
        "size=10k",
        "model=scratch_3m",
        "stop_after=select",
        "study=pool_ladders",
        "tracking=none",
    ]
    for strategy in STRATEGIES:
        for side in SIDES:
            for match in MATCHES:
                for level in LEVELS:
                    cell = [
                        f"strategy={strategy}",
                        f"strategy.side={side}",
                        f"selection.match={match}",
                        f"diversity_level={level}",
                    ]
                    yield run(compose_run([*common, *cell, *overrides]))


def line(row: dict[str, Any]) -> str:
    """One line of the Markdown table."""
    shares = {key.removeprefix("subset.share."): value for key, value in row.items() if key.startswith("subset.share.")}
    grouped: dict[str, float] = {}
    for source, share in shares.items():
        grouped[source.split("-")[0]] = grouped.get(source.split("-")[0], 0) + share
    numbers = [f"{row[name]:,}" for name in COLUMNS]
    measured = [f"{row['subset.response_words']:.0f}", f"{row['diversity.units.entropy']:.2f}"]
    told = ", ".join(f"{source} {share:.0%}" for source, share in sorted(grouped.items()))
    cost = [f"{row[f'time.{stage}']:.2f}" for stage in ("units", "select")]
    return (
        "| "
        + " | ".join(
            [row["strategy"], row["side"], row["match"], f"{row['level']:.3g}", *numbers, *measured, told, *cost]
        )
        + " |"
    )


def main() -> None:
    measured = ["response words", "unit entropy", "sources", "units s", "select s"]
    head = ["strategy", "side", "match", "level", *COLUMNS, *measured]
    rows = list(cells(sys.argv[1], sys.argv[2:]))
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    print("\n".join(line(row) for row in rows))


if __name__ == "__main__":
    main()
