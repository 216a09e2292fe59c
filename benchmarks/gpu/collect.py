"""Turns the rows that came back from the GPU into the folder of a study, for `python -m sftdiv.analyze`.

    python benchmarks/gpu/collect.py rows.jsonl multirun/gpu_study

Every cell becomes a folder with its ``result.json``, sealed as an ordinary run's. Failed cells are listed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sftdiv.storage.cell import write_result


def collect(rows: Path, study: Path) -> int:
    """Write a folder per finished cell; the number of these."""
    finished = 0
    for line in rows.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "failure" in row:
            print(f"{row['cell']}: {row['failure'].strip().splitlines()[-1]}")
            continue
        folder = study / row["cell"]
        folder.mkdir(parents=True, exist_ok=True)
        write_result(folder, {**row, "study": study.name})
        finished += 1
    return finished


if __name__ == "__main__":
    print(f"{collect(Path(sys.argv[1]), Path(sys.argv[2]))} cells")
