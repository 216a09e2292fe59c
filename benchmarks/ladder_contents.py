"""What the subsets of a ladder hold beside diversity: distinct texts, sources, and items of benchmarks.

    python benchmarks/ladder_contents.py POOL.parquet MMLU.parquet > benchmarks/ladder_contents.md

Seven levels of micro_token on the responses of the pool, 10,000 examples each, before and after
``selection.max_per_group=1`` and ``corpus.decontaminate=drop``. The items are the pool's AlpacaEval prompts (the
instructions of its AlpacaEval rows) and MMLU's test questions.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import sftdiv

LEVELS = [0, "1/6", "2/6", "3/6", "4/6", "5/6", 1]
CONDITIONS: dict[str, dict[str, Any]] = {
    "as it is": {"corpus__decontaminate": "report"},
    "max_per_group=1": {"corpus__decontaminate": "report", "selection__max_per_group": 1},
    "max_per_group=1, decontaminate=drop": {"corpus__decontaminate": "drop", "selection__max_per_group": 1},
}
COLUMNS = {
    "distinct instructions": "subset.distinct.instruction",
    "distinct responses": "subset.distinct.response",
    "unit entropy, bits": "diversity.units.entropy",
    "words per response": "subset.response_words",
    "leaked AlpacaEval items": "leak.alpaca_eval",
    "leaked MMLU items": "leak.mmlu_test",
}


def item_files(pool: str, mmlu: str, folder: Path) -> list[str]:
    """Files of benchmark items, named by their benchmark."""
    rows = pq.read_table(pool, columns=["instruction", "source"]).to_pylist()
    prompts = sorted({row["instruction"] for row in rows if row["source"].startswith("alpacaeval")})
    questions = pq.read_table(mmlu, columns=["split", "question"]).to_pylist()
    items = {"alpaca_eval": prompts, "mmlu_test": [row["question"] for row in questions if row["split"] == "test"]}
    for name, texts in items.items():
        lines = (json.dumps({"question": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return [str(folder / f"{name}.jsonl") for name in items]


def sources(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Share of each source in a subset, the AlpacaEval sources together."""
    shares: dict[str, float] = {}
    start = f"{prefix}subset.share."
    for key, share in row.items():
        if key.startswith(start):
            name = "alpacaeval" if "alpacaeval" in key else key.removeprefix(start)
            shares[name] = shares.get(name, 0) + share
    return shares


def main(pool: str, mmlu: str) -> None:
    """Print one table per condition."""
    print(__doc__.split("\n\n")[0] + "\n\n`python benchmarks/ladder_contents.py POOL MMLU`\n")
    with tempfile.TemporaryDirectory() as folder:
        files = item_files(pool, mmlu, Path(folder))
        for title, settings in CONDITIONS.items():
            subsets = sftdiv.ladder(pool, n=10_000, levels=LEVELS, corpus__contamination__files=files, **settings)
            rows = [dict(subset.report) for subset in subsets]
            names = sorted({name for row in rows for name in sources(row)})
            print(f"## {title}: universe {rows[0]['universe']:,}\n")
            print(
                "| level | "
                + " | ".join([*COLUMNS, *names])
                + " |\n"
                + "| --- " * (len(COLUMNS) + len(names) + 1)
                + "|"
            )
            draws = [(level, row, "") for level, row in zip(LEVELS, rows, strict=True)] + [
                ("random", rows[0], "random.")
            ]
            for level, row, prefix in draws:
                numbers = [row.get(prefix + column) for column in COLUMNS.values()]
                cells = ["" if value is None else f"{value:,.2f}".removesuffix(".00") for value in numbers]
                cells += [f"{sources(row, prefix).get(name, 0):.1%}" for name in names]
                print(f"| {level} | " + " | ".join(cells) + " |")
            print()


if __name__ == "__main__":
    main(*sys.argv[1:])
