"""Time and memory of selection on corpora of millions of rows; results in `benchmarks/scale.md`.

    python benchmarks/scale.py ladder --rows 1_000_000
    python benchmarks/scale.py batch --pool ../shared/data/pool-117k.parquet
    python benchmarks/scale.py processes --pool ../shared/data/pool-117k.parquet --rows 100_000

``ladder`` makes units as token units are (16 an example, of 11,000 types whose supports fall as 1/rank by a factor of
56, the ratio of the band 10 to 500), builds the ladder and draws 100,000 examples at level 0.5, all in a child process.
It prints JSON: rows, non-zeros, seconds (wall, processor) and peak memory in bytes of each step, memory per non-zero
above that of the interpreter and its libraries, and a digest of the selected ids.

``batch`` compares, on token units of the pool's responses, the pools of ``selection.batch`` and those of other orders
of ties with the exact ladder's. ``processes`` makes tokens, shingles and signatures of texts with one process and two.
The way from files to a subset is measured by `scale_end_to_end.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.data.minhash_bands import band_keys
from sftdiv.data.shingles import BATCH, shingle_sets
from sftdiv.protocols import CorpusSide
from sftdiv.protocols.contexts import not_given
from sftdiv.records import Ladder, Units, Universe
from sftdiv.selection.choose import build_ladders, choose
from sftdiv.selection.level import k_of_level, smallest_k
from sftdiv.units.encoding import encode
from sftdiv.units.tokens import TokenUnits
from sftdiv.vectors.threads import cores

UNITS, TYPES, RATIO, SIZE = 16, 11_000, 56, 100_000
POOL_SIZE, SLACK, LEVELS = 10_000, 1.5, (0.25, 0.5, 0.75)
ORDERS = (  # name, seed of the order among equals, batch
    ("tie seed 1", 1, 0.0),
    ("tie seed 2", 2, 0.0),
    ("batch=0.001", 0, 0.001),
    ("batch=0.005", 0, 0.005),
    ("batch=0.02", 0, 0.02),
)


@njit(cache=True)
def zipf_rows(indices: NDArray[np.int32], units: int, types: int, ratio: float, seed: int) -> None:
    """Fill ``units`` distinct types of each row in ascending order; the support of a type falls as 1/rank."""
    np.random.seed(seed)  # noqa: NPY002 - the state is numba's own, not that of NumPy
    first = types / (ratio - 1)  # rank of the most frequent type
    for start in range(0, len(indices), units):
        row, filled = indices[start : start + units], 0
        while filled < units:
            drawn = np.int32(first * ratio ** np.random.random() - first)  # noqa: NPY002
            if drawn < types and not (row[:filled] == drawn).any():
                row[filled] = drawn
                filled += 1
        row.sort()


def zipf_units(rows: int) -> Units:
    """Units of ``rows`` examples; see the module's docstring."""
    indices = np.empty(rows * UNITS, dtype=np.int32)
    zipf_rows(indices, UNITS, TYPES, RATIO, 0)
    offsets = np.arange(0, len(indices) + 1, UNITS, dtype=np.int32 if len(indices) < 2**31 else np.int64)
    matrix = scipy.sparse.csr_array((np.ones(len(indices), dtype=np.int32), indices, offsets), shape=(rows, TYPES))
    return Units(matrix, [f"type{number}" for number in range(TYPES)], {})


def peak() -> int:
    """Peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result of ``work``, and its wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def digest(*arrays: NDArray[np.int64]) -> str:
    """Digest of integers, whatever their width."""
    content = hashlib.blake2b(digest_size=8)
    for array in arrays:
        content.update(array.astype(np.int64).tobytes())
    return content.hexdigest()


def ladder_and_draw(rows: int, size: int) -> dict[str, Any]:
    """Seconds, peak memory and digests of one ladder and one draw."""
    units = zipf_units(rows)
    universe = Universe(np.arange(rows), np.zeros(rows, dtype=np.int64), {})
    ladders, *ladder_seconds = timed(lambda: build_ladders(units, universe, prune="support", seed=0))
    ladder_peak = peak()
    settings: dict[str, Any] = {"level": 0.5, "size": size, "k_min": "auto", "slack": 1.5, "seed": 0}
    selection, *draw_seconds = timed(lambda: choose(units, universe, ladders, weights=np.ones(rows), **settings))
    return {
        "ladder_s": np.round(ladder_seconds, 2).tolist(),
        "ladder_peak": ladder_peak,
        "draw_s": np.round(draw_seconds, 2).tolist(),
        "draw_peak": peak(),
        "ladder_digest": digest(ladders[0].type_order, ladders[0].example_step),
        "draw_digest": digest(selection.indices),
    }


def step_ladder(rows: int) -> dict[str, Any]:
    """Compile on a small corpus, then measure."""
    ladder_and_draw(1000, 100)
    before = peak()
    measured = ladder_and_draw(rows, min(SIZE, rows // 10))
    nonzeros = rows * UNITS
    return {
        "rows": rows,
        "nonzeros": nonzeros,
        **measured,
        "ladder_bytes_per_nonzero": round((measured["ladder_peak"] - before) / nonzeros, 1),
        "draw_bytes_per_nonzero": round((measured["draw_peak"] - before) / nonzeros, 1),
    }


def responses(pool: Path, rows: int | None = None) -> list[str]:
    """The first responses of the pool."""
    return list(pq.read_table(pool, columns=["response"]).slice(0, rows).column(0).to_pylist())


def step_batch(pool: Path) -> dict[str, Any]:
    """Jaccard similarity with the exact pools, seconds and rounds of each order."""
    texts = responses(pool)
    side = CorpusSide(texts, lambda: encode(texts, "lexical"), embeddings=not_given, column=not_given)
    units = TokenUnits(low=10, high=500, unit="occurrences", scale="absolute").extract(side)
    rows = np.flatnonzero(np.diff(units.matrix.indptr))
    universe = Universe(rows, np.zeros(len(rows), dtype=np.int64), {})

    def ladder(seed: int, batch: float) -> Ladder:
        return build_ladders(units, universe, prune="support", seed=seed, batch=batch)[0]

    exact = ladder(0, 0.0)
    lowest = smallest_k(exact, np.ones(len(rows)), SLACK * POOL_SIZE)
    ks = [k_of_level(level, lowest, exact.k_max) for level in LEVELS]
    compared = {}
    for name, seed, batch in ORDERS:
        other, *seconds = timed(partial(ladder, seed, batch))
        jaccards = [round(jaccard(exact.pool(k), other.pool(k)), 3) for k in ks]
        compared[name] = {"jaccard": jaccards, "s": np.round(seconds, 2).tolist(), "rounds": rounds(exact.k_max, batch)}
    pools = [len(exact.pool(k)) for k in ks]
    return {"rows": len(rows), "types": exact.k_max, "levels": LEVELS, "k": ks, "pools": pools, "orders": compared}


def jaccard(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Jaccard similarity of two sets of distinct rows."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def rounds(types: int, batch: float) -> int:
    """Number of rounds in which all types are removed."""
    count = 0
    while types:
        types -= max(1, int(batch * types))
        count += 1
    return count


def step_processes(pool: Path, rows: int) -> dict[str, Any]:
    """Wall and processor seconds of this process, digest of the result."""
    texts = responses(pool, rows)
    tokens, *token_seconds = timed(lambda: encode(texts, "lexical"))
    sets, *set_seconds = timed(lambda: shingle_sets(texts, unit="words", size=5))
    settings = {"bands": 18, "rows": 7, "permutations": 128, "seed": 0}
    keys, *key_seconds = timed(lambda: band_keys(sets, range(0, len(sets), BATCH), **settings))
    seconds = {"tokens": token_seconds, "shingles": set_seconds, "signatures": key_seconds}
    return {
        "processes": cores(),
        "rows": len(texts),
        **{f"{name}_s": np.round(pair, 2).tolist() for name, pair in seconds.items()},
        "digest": digest(tokens.flat, sets.flat, keys.view(np.int64)),
        "load": os.getloadavg()[0],
    }


def child(*arguments: str, **environment: str) -> str:
    """The JSON line of a step in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--here"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    ladder = steps.add_parser("ladder", help="ladder and draw on made-up units")
    ladder.add_argument("--rows", type=int, required=True)
    batch = steps.add_parser("batch", help="pools of rounds and of other orders of ties beside the exact ones")
    batch.add_argument("--pool", type=Path, required=True)
    processes = steps.add_parser("processes", help="one process and two")
    processes.add_argument("--pool", type=Path, required=True)
    processes.add_argument("--rows", type=int, default=100_000)
    for step in (ladder, batch, processes):
        step.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    settings = vars(parser.parse_args())
    name = settings.pop("step")
    if settings.pop("here"):
        print(json.dumps(globals()[f"step_{name}"](**settings)))
        return
    arguments = [name, *(f"--{option}={value}" for option, value in settings.items())]
    for threads in ("1", "2") if name == "processes" else ("1",):
        print(child(*arguments, NUMBA_NUM_THREADS=threads))


if __name__ == "__main__":
    main()
