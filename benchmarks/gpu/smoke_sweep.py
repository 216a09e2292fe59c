"""Part (a), sweep: cells that start together share the GPU by its lock. See `smoke_losses` for what a check is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def sweep(base: Path, folder: Path, device: str) -> dict[str, Any]:
    """Two cells of a sweep that start together use one GPU one after the other, and both finish."""
    command = [
        *(sys.executable, "-m", "sftdiv.run", "-m", "strategy=random,micro_token", "size=0.5k", "study=locks"),
        *("eval=heldout", "embedder=none", "tracking=none", "model.pretrain.steps=40", "train.steps=20", "samples=2"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"trainer={'cpu' if device == 'cpu' else 'gpu'}"),
        *(f"paths.multirun={folder}", f"paths.cache={folder / 'cache'}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    cells = sorted(folder.glob("locks/*/result.json"))
    assert len(cells) == 2, f"{len(cells)} of 2 cells finished: {done.stderr[-1500:]}"
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in cells]
    windows = sorted(_window(path) for path in cells)
    overlap = windows[0][1] - windows[1][0]
    assert device == "cpu" or overlap <= 1, f"both cells used the GPU for {overlap:.0f} s"
    return {"precision": [row["train.precision"] for row in rows], "overlap_seconds": overlap}


def _window(result: Path) -> tuple[float, float]:
    """When a cell's process began (the first time in its log) and ended, in seconds of the day."""
    log = (result.parent / "log.txt").read_text(encoding="utf-8")
    hours, minutes, seconds = map(int, re.search(r"^(\d\d):(\d\d):(\d\d) ", log, re.MULTILINE).groups())
    end = time.localtime(result.stat().st_mtime)
    return hours * 3600 + minutes * 60 + seconds, end.tm_hour * 3600 + end.tm_min * 60 + end.tm_sec
