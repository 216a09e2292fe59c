"""Cost of selection on 117,000 real pairs, against the size of the corpus and beside apricot; and equality of results.

    python benchmarks/selection.py ../shared/data/pool-117k.parquet [--only grid,same,scale,peers]

First builds the units that the cache lacks (some minutes on two cores) and apricot's environment
(``build/peers-selection``). Each measurement is a separate process (`selection_steps.py`). Writes
benchmarks/selection/results.json, part by part, and README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from selection_steps import SIZE, SLACK
from selection_tables import readme

from sftdiv.storage.files import write_atomically

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "selection"
PEERS = HERE.parent / "build" / "peers-selection"
PACKAGES = ("apricot-select==0.6.1", "scikit-learn")  # apricot imports scikit-learn and does not say so
PEER_SECONDS, PEER_GIB = 300, 8  # of the processor: others may be using the machine
THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
PARTS = ("grid", "same", "scale", "peers")


def step(name: str, path: Path, *overrides: str, **environment: str) -> dict[str, Any]:
    """Run one measurement and read its result."""
    command = [sys.executable, str(HERE / "selection_steps.py"), name, str(path), *overrides]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def grid(pool: Path) -> dict[str, Any]:
    """The whole grid at once, from warm units."""
    return step("grid", pool)


def same(pool: Path) -> dict[str, Any]:
    """Equality of the ids over one thread, two threads, and another order of the file's rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = pq.read_table(pool)
        turned = folder / "turned.parquet"
        pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), turned, row_group_size=10_000)
        del table
        runs = {"one thread": (pool, "1"), "two threads": (pool, "2"), "another order": (turned, "2")}
        found = {
            run: step("ids", path, SFTDIV_CACHE=str(folder / run), **dict.fromkeys(THREADS, threads))
            for run, (path, threads) in runs.items()
        }
    first, *others = ({key: result[key] for key in ("fingerprint", "chosen")} for result in found.values())
    assert all(other == first for other in others), found
    return {"runs": list(found), **first}


def scale(pool: Path) -> dict[str, Any]:
    """Cost against the size of the corpus."""
    return step("scale", pool)


def peers(pool: Path) -> dict[str, Any]:
    """Greedy selections of apricot on more and more rows, up to its limits of time and memory."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    with tempfile.TemporaryDirectory() as name:
        ours = step("peer_input", pool, f"out={name}")
        counts = [row["rows"] for row in ours["rows"]]
        return {"ours": ours, **{kind: growing(python, kind, name, counts) for kind in ("feature", "facility")}}


def growing(python: Path, kind: str, folder: str, counts: list[int]) -> list[dict[str, Any]]:
    """Cost of one greedy selection for each number of rows, up to the first that exceeds a limit."""
    rows = []
    for count in counts:
        rows.append({"rows": count, "size": min(SIZE, int(count / SLACK)), **peer(python, kind, folder, count)})
        if "failed" in rows[-1]:
            break
    return rows


def peer(python: Path, kind: str, folder: str, count: int) -> dict[str, Any]:
    """One run of a peer under its limits of time and memory."""
    command = [
        str(python),
        str(HERE / "selection_peer.py"),
        kind,
        folder,
        str(count),
        str(min(SIZE, int(count / SLACK))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=bounded)
    if done.returncode == -signal.SIGXCPU:
        return {"failed": f"more than {PEER_SECONDS} s of processor"}
    if done.returncode < 0:
        raise RuntimeError(
            f"the peer was killed from outside (signal {-done.returncode}): this says nothing of its cost"
        )
    if done.returncode:
        return {
            "failed": done.stderr.strip().splitlines()[-1][:200]
            if done.stderr.strip()
            else f"exit code {done.returncode}"
        }
    return dict(json.loads(done.stdout.splitlines()[-1]))


def bounded() -> None:
    """Limit this process's memory and processor time."""
    resource.setrlimit(resource.RLIMIT_DATA, (PEER_GIB << 30, PEER_GIB << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (PEER_SECONDS, PEER_SECONDS + 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure again; the others keep their results")
    given = parser.parse_args()
    path = RESULTS / "results.json"
    asked = given.only.split(",")
    if {"grid", "scale", "peers"} & set(asked):
        step("units", given.pool)
    for name in asked:
        load, stamp = os.getloadavg()[0], time.strftime("%Y-%m-%d %H:%M")
        made = globals()[name](given.pool)
        results = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )  # another run may have written meanwhile
        results[name] = {
            **made,
            "date": stamp,
            "load_before": load,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }
        write_atomically(path, json.dumps(results, indent=1) + "\n")
        write_atomically(RESULTS / "README.md", readme(results))
        print(f"{name}: done", flush=True)
    print(readme(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
