"""The steps of one run, each a function from what the steps before it gave to what the next ones take.

In: the config and its artifacts. Out: the subset, its diversity, the checkpoint, the scores. Flat values are passed on; the config stops here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from sftdiv.artifacts import Artifacts, plain
from sftdiv.diversity.describe import describe
from sftdiv.diversity.entropy import entropy
from sftdiv.records import SIDES, Subset, Units
from sftdiv.selection.choose import choose
from sftdiv.selection.universe import build_universe, group_share


@dataclass(frozen=True)
class Selection:
    """A subset, the units it was chosen by, and who was left out of the universe, by reason."""

    subset: Subset
    units: Units
    left_out: dict[str, int]


def select(config: DictConfig, artifacts: Artifacts) -> Selection:
    """Universe, ladder, level, draw."""
    rules, strategy = config.selection, plain(config.strategy)
    units = artifacts.units(strategy)
    response_words = np.array([len(text.split()) for text in artifacts.texts("response")])
    universe = build_universe(
        _left_out(config, artifacts, units), lengths=response_words, sources=artifacts.corpus.column("source"), match=rules.match
    )
    ladders = artifacts.ladders(strategy, units, universe, prune=rules.prune, seed=rules.seed)
    by_tokens = config.size.label_tokens is not None
    subset = choose(
        units,
        universe,
        ladders,
        level=config.diversity_level,
        size=config.size.label_tokens if by_tokens else config.size.n,
        weights=_response_tokens(artifacts).astype(np.float64) if by_tokens else np.ones(len(artifacts.corpus)),
        k_min=rules.k_min,
        slack=rules.slack,
        seed=config.seed,
    )
    return Selection(subset, units, dict(universe.counts))


def diversity(selection: Selection, artifacts: Artifacts) -> dict[str, Any]:
    """Metrics of the subset: both sides' texts, its units, its length and its sources."""
    rows = selection.subset.indices
    sides = {}
    for side in SIDES:
        texts = artifacts.texts(side)
        tokens = artifacts.token_ids(side, artifacts.tokenizer).take(rows)
        sides[side] = describe(tokens, [texts[row] for row in rows], artifacts.embeddings(side)[rows])
    held = selection.units.matrix[rows]
    of_type = np.asarray(held.sum(axis=0)).ravel()
    units = {"types": int(np.count_nonzero(of_type)), "per_example": held.nnz / len(rows), "entropy": entropy(of_type[of_type > 0])}
    words = [len(text.split()) for text in artifacts.corpus.table.select(rows)["response"]]
    sources = Counter(artifacts.corpus.table.select(rows)["source"])
    shares = {name: count / len(rows) for name, count in sorted(sources.items())}
    return {"diversity": {**sides, "units": units}, "subset": {"response_words": float(np.mean(words)), "share": shares}}


def write_subset(subset: Subset, artifacts: Artifacts, path: Path) -> None:
    """Write the chosen examples in the order drawn, as Parquet, atomically."""
    temporary = path.with_name(f".{path.name}")
    artifacts.corpus.table.select(subset.indices).to_parquet(str(temporary))
    temporary.replace(path)


def _left_out(config: DictConfig, artifacts: Artifacts, units: Units) -> dict[str, NDArray[np.bool_]]:
    """Everyone who may not be chosen, by reason, in the order in which the reasons are counted."""
    rules, corpus = config.selection, artifacts.corpus
    other = config.get("universe_strategy")
    left_out = {"heldout": np.array(corpus.column("heldout")), "read_by_base": artifacts.read_by_base}
    if rules.sources is not None:
        left_out["source"] = ~np.isin(np.array(corpus.column("source"), dtype=object), list(rules.sources))
    if rules.response_tokens is not None:
        low, high = rules.response_tokens
        tokens = _response_tokens(artifacts)
        left_out["response_tokens"] = (tokens < low) | (tokens > high)
    if rules.replicate < 1:
        left_out["replicate"] = ~group_share(corpus.column("group"), rules.replicate, salt=f"replicate:{config.seed}")
    if other is not None:
        left_out[f"no_{other.name}_unit"] = np.diff(artifacts.units(plain(other)).matrix.indptr) == 0
    return left_out | {"no_unit": np.diff(units.matrix.indptr) == 0}


def _response_tokens(artifacts: Artifacts) -> NDArray[np.int64]:
    """Tokens of each response under the model's tokenizer, shape (examples,)."""
    return artifacts.token_ids("response", artifacts.tokenizer).lengths()
