"""The measurements of `benchmarks/selection.py`, each in a separate process with a memory peak of its own.

    python benchmarks/selection_steps.py STEP POOL [overrides ...]

Prints a line of JSON. Times are wall and processor seconds; numba's kernels are compiled (or read from
their cache) by a first, untimed call on a made-up corpus.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.protocols import CorpusSide
from sftdiv.records import SIDES, Ladder, Selection, TokenIds, Units, Universe
from sftdiv.selection.choose import build_ladders, choose
from sftdiv.selection.universe import build_universe
from sftdiv.storage.cache import Store
from sftdiv.storage.hashing import content_hash
from sftdiv.units.tokens import TokenUnits

SIZE, SLACK, LEVELS = 10_000, 1.5, tuple(step / 6 for step in range(7))
MATCHES = ("none", "length")
KINDS, PARTS = ("wall", "processor"), ("read", "universe", "ladder", "draws")
TOPICS = ["strategy/clusterer=kmeans", "strategy.units.clusterer.clusters=200", "strategy.units.stability.seeds=0"]
STRATEGIES: dict[str, list[str]] = {
    "macro_topic": ["strategy.units.noise=nearest", *TOPICS],
    "meso_tag": [],
    "micro_token": [],
}
ROWS = (12_000, 37_000, 117_000, 370_000)  # and all that there are
SIZE_SHARE = 1 / 12  # of the rows, where cost is measured against their number: the subset grows with the corpus
COPIES, NOISE = 10, 0.05
# 10 to 500 occurrences in the pool's 17 million tokens
PER_MILLION: dict[str, Any] = {"low": 0.6, "high": 29, "unit": "occurrences", "scale": "per_million"}
PEER_ROWS = (15_000, 20_000, 30_000)  # and all that there are


def artifacts_of(path: str, overrides: Sequence[str]) -> RunArtifacts:
    """Artifacts of a corpus file with the given settings; the cache is the user's, or `SFTDIV_CACHE`."""
    request = compose_run(["corpus=files", f"corpus.path={path}", "embedder=lsa", "model=scratch_3m", *overrides])
    return RunArtifacts(request.spec, Store(request.paths.cache))


def timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    """The result of ``work``, and its wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    made = work(*given)
    return made, time.perf_counter() - wall, time.process_time() - processor


def universe_of(units: Units, match: str, columns: dict[str, Any]) -> Universe:
    """All but held-out examples and those without a unit."""
    left_out = {"heldout": columns["heldout"], "no_unit": np.diff(units.matrix.indptr) == 0}
    return build_universe(left_out, lengths=columns["lengths"], sources=columns["sources"], match=match)


def ladders_of(units: Units, universe: Universe) -> list[Ladder]:
    """The ladder of each stratum."""
    return build_ladders(units, universe, prune="support", seed=0)


def draws(
    units: Units, universe: Universe, ladders: Sequence[Ladder], size: int, levels: Sequence[float] = LEVELS
) -> list[Selection]:
    """A selection at each level."""
    weights = np.ones(units.matrix.shape[0])
    return [
        choose(units, universe, ladders, level=level, size=size, weights=weights, k_min="auto", slack=SLACK, seed=0)
        for level in levels
    ]


def columns_of(artifacts: RunArtifacts) -> dict[str, Any]:
    """Columns that selection needs: response lengths in words, sources, the held-out mask."""
    lengths = np.array([len(text.split()) for text in artifacts.data.texts("response")])
    return {
        "lengths": lengths,
        "sources": artifacts.data.corpus.column("source"),
        "heldout": np.array(artifacts.data.corpus.column("heldout")),
    }


def compile_kernels() -> None:
    """One ladder and one draw of each match on a made-up corpus."""
    held = np.random.default_rng(0).random((400, 50)) < 0.1
    units = Units(scipy.sparse.csr_array(held.astype(np.int32)), [str(name) for name in range(50)], {})
    columns = {"heldout": np.zeros(400, dtype=bool), "lengths": np.arange(400), "sources": ["one"] * 400}
    for match in MATCHES:
        universe = universe_of(units, match, columns)
        draws(units, universe, ladders_of(units, universe), 20)


def step_units(path: str, overrides: list[str]) -> dict[str, Any]:
    """Build the units of all strategies and sides in the cache."""
    rows = []
    for (strategy, settings), side in product(STRATEGIES.items(), SIDES):
        artifacts = artifacts_of(path, [f"strategy={strategy}", f"strategy.side={side}", *settings, *overrides])
        _, wall, processor = timed(artifacts.data.units, artifacts.spec.strategy)
        rows.append({"strategy": strategy, "side": side, "wall": wall, "processor": processor})
    return {"rows": rows}


def step_grid(path: str, overrides: list[str]) -> dict[str, Any]:
    """Seven levels of every strategy, side and match, units read from the cache."""
    columns, rows = columns_of(artifacts_of(path, overrides)), []
    compile_kernels()
    for (strategy, settings), side in product(STRATEGIES.items(), SIDES):
        artifacts = artifacts_of(path, [f"strategy={strategy}", f"strategy.side={side}", *settings, *overrides])
        artifacts.data.units_key(artifacts.spec.strategy)  # maps the corpus, finds the tokenizer: no part of selection
        units, *read = timed(artifacts.data.units, artifacts.spec.strategy)
        for match in MATCHES:
            universe, *found = timed(universe_of, units, match, columns)
            ladders, *pruned = timed(ladders_of, units, universe)
            subsets, *drawn = timed(draws, units, universe, ladders, SIZE)
            row = {
                "strategy": strategy,
                "side": side,
                "match": match,
                "types": subsets[0].columns["k_max"],
                "examples": len(universe.indices),
            }
            row |= {"nonzeros": int(units.matrix[universe.indices].nnz), "subsets": [len(subset) for subset in subsets]}
            rows.append(row | spent(read=read, universe=found, ladder=pruned, draws=drawn))
            read = [0.0, 0.0]  # once for both matches
    totals = {f"total.{kind}": sum(row[f"{part}.{kind}"] for row in rows for part in PARTS) for kind in KINDS}
    return {"rows": rows, **totals}


def spent(**parts: Sequence[float]) -> dict[str, float]:
    """Pairs of wall and processor seconds as flat columns."""
    return {
        f"{name}.{kind}": seconds for name, pair in parts.items() for kind, seconds in zip(KINDS, pair, strict=True)
    }


def step_scale(path: str, overrides: list[str]) -> dict[str, Any]:
    """Ladder and draws of more and more rows of the pool ten times over; the best of three for small sizes."""
    artifacts = artifacts_of(path, ["strategy=micro_token", *overrides])
    whole = micro_units(
        copies(artifacts.data.token_ids("response", artifacts.tokenizer), COPIES, np.random.default_rng(0))
    )
    compile_kernels()
    everyone, rows = whole.matrix.shape[0], []
    for count in (*(count for count in ROWS if count < everyone), everyone):
        units = Units(whole.matrix[:count], whole.names, whole.made_by)
        columns = {"heldout": np.zeros(count, dtype=bool), "lengths": np.zeros(count), "sources": ["one"] * count}
        universe = universe_of(units, "none", columns)
        size, times = round(count * SIZE_SHARE), []
        for _ in range(3 if count < 200_000 else 1):
            ladders, *pruned = timed(ladders_of, units, universe)
            _, *drawn = timed(draws, units, universe, ladders, size)
            times.append([pruned, drawn])
        pruned, drawn = np.min(times, axis=0).tolist()
        held = units.matrix[universe.indices]
        told = {"rows": count, "nonzeros": int(held.nnz), "types": len(np.unique(held.indices)), "size": size}
        rows.append(told | spent(ladder=pruned, draws=drawn))
    return {"rows": rows, **exponents(rows)}


def micro_units(tokens: TokenIds) -> Units:
    """Mid-frequency tokens, by frequency per million."""
    side = CorpusSide(
        [""] * len(tokens.lengths()), lambda: tokens, lambda: np.empty(0, dtype=np.float32), lambda name: []
    )
    return TokenUnits(**PER_MILLION).extract(side)


def copies(tokens: TokenIds, count: int, rng: np.random.Generator) -> TokenIds:
    """The texts several times over; in all copies but the first, 5 % of the tokens are replaced at random."""
    flat = np.tile(tokens.flat, count)
    for start in range(len(tokens.flat), len(flat), len(tokens.flat)):
        copy = flat[start : start + len(tokens.flat)]
        replaced = rng.integers(len(copy), size=int(NOISE * len(copy)))
        copy[replaced] = tokens.flat[rng.integers(len(copy), size=len(replaced))]
    offsets = np.concatenate([[0], np.cumsum(np.tile(tokens.lengths(), count))])
    return TokenIds(flat, offsets, tokens.names)


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Exponents over all sizes, and over those from the pool's size on, where constant costs hardly count."""
    large = [row for row in rows if row["rows"] >= ROWS[2]]
    return {
        name: {part: exponent(some, part) for part in ("ladder", "draws", "both")}
        for name, some in (("exponent", rows), ("exponent_from_pool", large))
    }


def exponent(rows: Sequence[dict[str, Any]], part: str) -> float:
    """Slope of log processor seconds against log non-zeros, by least squares."""
    parts = ("ladder", "draws") if part == "both" else (part,)
    seconds = [sum(row[f"{name}.processor"] for name in parts) for row in rows]
    return float(np.polyfit(np.log([row["nonzeros"] for row in rows]), np.log(seconds), 1)[0])


def step_ids(path: str, overrides: list[str]) -> dict[str, Any]:
    """Ids selected from a file at three levels and both matches; corpus, units (words) and selection are made here."""
    artifacts = artifacts_of(path, ["strategy=micro_token", "strategy.tokenizer=words", *overrides])
    units, columns, ids = (
        artifacts.data.units(artifacts.spec.strategy),
        columns_of(artifacts),
        artifacts.data.corpus.column("id"),
    )
    chosen = {}
    for match in MATCHES:
        universe = universe_of(units, match, columns)
        ladders = ladders_of(units, universe)
        levels = (0.0, 0.5, 1.0)
        for level, subset in zip(levels, draws(units, universe, ladders, SIZE, levels), strict=True):
            chosen[f"{match}, level {level:g}"] = content_hash([ids[row] for row in subset.indices])
    return {"fingerprint": artifacts.data.corpus.fingerprint, "chosen": chosen}


def step_peer_input(path: str, overrides: list[str]) -> dict[str, Any]:
    """Write micro units and embeddings of responses for a peer (first argument ``out=FOLDER``), and our time."""
    folder = Path(overrides[0].partition("=")[2])
    artifacts = artifacts_of(path, ["strategy=micro_token", *overrides[1:]])
    columns, units = columns_of(artifacts), artifacts.data.units(artifacts.spec.strategy)
    rows = universe_of(units, "none", columns).indices
    scipy.sparse.save_npz(folder / "units.npz", scipy.sparse.csr_matrix(units.matrix[rows].astype(np.float64)))
    np.save(folder / "embeddings.npy", artifacts.data.embeddings("response")[rows].astype(np.float64))
    compile_kernels()
    ours = [
        ours_on(Units(units.matrix[rows[:count]], units.names, {}))
        for count in (*(few for few in PEER_ROWS if few < len(rows)), len(rows))
    ]
    return {"rows": ours}


def ours_on(units: Units) -> dict[str, Any]:
    """Seconds of one ladder and one draw (level 1) of `SIZE` examples, or as many as the rows allow."""
    count = units.matrix.shape[0]
    columns = {"heldout": np.zeros(count, dtype=bool), "lengths": np.zeros(count), "sources": ["one"] * count}
    universe, size = universe_of(units, "none", columns), min(SIZE, int(count / SLACK))
    _, *both = timed(lambda: draws(units, universe, ladders_of(units, universe), size, (1.0,)))
    return {"rows": count, "size": size, **spent(both=both)}


def peak_gib() -> float:
    """Peak memory of this process, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    step, path, *overrides = sys.argv[1:]
    result = globals()[f"step_{step}"](path, overrides)
    print(json.dumps({**result, "peak_gib": peak_gib()}))


if __name__ == "__main__":
    main()
