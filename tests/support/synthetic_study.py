"""A made-up study folder: rows as a sweep writes them, with a known slope and known noise, in about a
second and without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sftdiv.storage.cell import FAILURE, RESULT, flatten
from sftdiv.storage.files import write_json

LEVELS = tuple(step / 6 for step in range(7))
STRATEGIES = {"macro_topic": (4, 24), "meso_tag": (20, 130), "micro_token": (94, 449)}  # k_min, k_max
SLOPES = {  # performance from level 0 to level 1; the signs are the paper's
    ("macro_topic", "instruction"): 0.02,
    ("macro_topic", "response"): 0.01,
    ("meso_tag", "instruction"): 0.03,
    ("meso_tag", "response"): 0.03,
    ("micro_token", "instruction"): -0.04,
    ("micro_token", "response"): 0.08,
}
PRIMARY = "sftdiv_embedded_mc.word_probability"
UNIVERSE = 900  # examples; a subset holds SUBSET of them
SUBSET = 120
BASE, RANDOM = 0.2, 0.28  # performance of the untrained model and of a trained one at level 0


def write_synthetic_study(
    folder: Path,
    *,
    slopes: Mapping[tuple[str, str], float] = SLOPES,
    levels: Sequence[float] = LEVELS,
    seeds: Sequence[int] = (0, 1, 2),
    sizes: Sequence[int] = (2000,),
    matches: Sequence[str] = ("none", "length"),
    noise: float = 0.008,
    seed_noise: float = 0.004,
    baselines: bool = True,
    failures: int = 1,
    replicated: bool = False,
    random_seed: int = 0,
    changed: Mapping[str, Any] | None = None,
) -> Path:
    """Write cells as ``STRATEGIES`` x sides x levels x seeds x sizes x matches, with baselines beside them
    and a few failed cells.

    Args:
        folder: The study's folder, made where it does not exist; its last part is the study's name.
        slopes: The true slope of each ladder (strategy, side).
        levels: Diversity levels.
        seeds: Seeds; each moves all its cells by one draw of ``seed_noise``.
        sizes: Examples in a subset, as the rows say; the subset files hold ``SUBSET`` ids, to stay small.
        matches: ``none`` lets the response grow with the level, ``length`` keeps it.
        noise: Standard deviation of a cell about its line.
        seed_noise: Standard deviation between seeds.
        baselines: Whether random, full and base cells are there too.
        failures: How many further cells failed.
        replicated: Whether each of ``seeds`` is a replicate with a ladder of its own; else they share one ladder.
        random_seed: Of all noise.
        changed: Values that replace those of every row (``config_hash``, ``primary`` ...).

    Returns:
        The folder.
    """
    rng = np.random.default_rng(random_seed)
    seed_effects = dict(zip(seeds, rng.normal(0, seed_noise, len(seeds)), strict=True))
    for size in sizes:
        for match in matches:
            for (strategy, side), slope in slopes.items():
                for level in levels:
                    for seed in seeds:
                        performance = RANDOM + slope * level + seed_effects[seed] + rng.normal(0, noise)
                        row = synthetic_row(
                            folder.name, strategy, side, level, seed, performance, size=size, match=match
                        )
                        row |= replicate_columns(seed) if replicated else {}
                        write_cell(folder, row | (changed or {}), subset=_subset(rng, level))
            if baselines:
                for seed in seeds:
                    performance = RANDOM + seed_effects[seed] + rng.normal(0, noise)
                    _write_baselines(
                        folder, slopes, seed, performance, size=size, match=match, changed=changed or {}, rng=rng
                    )
    for index in range(failures):
        write_failure(folder, f"micro_token-response-n{sizes[0]}-d0.5-tiny-s{100 + index}-h83f620")
    return folder


def _write_baselines(
    folder: Path,
    slopes: Mapping[tuple[str, str], float],
    seed: int,
    performance: float,
    *,
    size: int,
    match: str,
    changed: Mapping[str, Any],
    rng: np.random.Generator,
) -> None:
    """A random draw and the full set of each universe, and the base model, which no subset stands behind."""
    for strategy, side in slopes:
        of = {"universe_of": strategy, "level": 1.0}
        drawn = synthetic_row(
            folder.name, "random", side, 1.0, seed, performance, size=size, match=match, universe_of=strategy
        )
        write_cell(folder, drawn | {"kind": "random"} | of | changed, subset=_subset(rng, 1.0))
        full = synthetic_row(
            folder.name, "random", side, 1.0, seed, performance + 0.02, size=9000, match=match, universe_of=strategy
        )
        write_cell(folder, full | {"kind": "full", "n": 9000} | of | changed, subset=np.arange(UNIVERSE))
    base = synthetic_row(folder.name, "random", "response", 0.0, seed, BASE, size=size, match=match, universe_of="base")
    kept = {key: value for key, value in base.items() if not key.startswith(("diversity.", "k_", "train.", "subset."))}
    write_cell(folder, kept | {"kind": "base", "n": 0, "level": None, "universe_of": None} | changed, subset=None)


def synthetic_row(
    study: str,
    strategy: str,
    side: str,
    level: float,
    seed: int,
    performance: float,
    *,
    size: int = 2000,
    match: str = "none",
    universe_of: str | None = None,
) -> dict[str, Any]:
    """A finished cell's row whose primary score is ``performance``; diversity rises with the level, length
    too unless matched."""
    low, high = STRATEGIES[strategy if strategy in STRATEGIES else "micro_token"]
    k = round(low + level * (high - low))
    universe_of = universe_of or strategy
    length = 24.0 + (1.0 if match == "length" else 40.0) * level + 1.5 * math.sin(7 * seed + 37 * level)
    row: dict[str, Any] = {
        "study": study,
        "cell": f"{strategy}-{side}-n{size}-d{level:.3g}-tiny-s{seed}-h{universe_of[:5]}{match[:2]}",
        "strategy": strategy,
        "side": side,
        "size": size,
        "budget": "examples",
        "level": level,
        "match": match,
        "universe_of": universe_of,
        "kind": "level",
        "seed": seed,
        "model": "tiny",
        "corpus": "embedded",
        "eval": "embedded",
        "config_hash": f"{strategy[:5]}{match[:2]}",
        "corpus_hash": "c9c37c5958857a31c7118c5b30a9a848",
        "eval_hash": "5d2f1c",
        "primary": PRIMARY,
        "higher_is_better": True,
        "n": size,
        "k_min": low,
        "k_max": high,
        "k_asked": k,
        "k_reached": k,
        "pool": round(size * (1.5 + 3 * level)),
        "universe": 9411,
        "diversity.units.types": k,
        "diversity.units.per_example": 2.9,
        "diversity.units.entropy": math.log2(k) + 0.01 * math.cos(5 * seed + level),
        "subset.response_words": length / 1.9,
        "subset.share.embedded": 1.0,
        "train.steps": 500,
        "train.tokens": round(size * (length + 28) * 4),
        "train.label_tokens": round(size * length * 4),
        "train.loss": 0.1 + 0.05 * level,
        "time.train": 35.0 + seed,
        "time.evaluate": 10.9,
        "memory.process_peak_gib": 0.85,
        "versions.torch": "2.13.0",
        "versions.numpy": "2.4.6",
        f"score.{PRIMARY}": performance,
        f"score.{PRIMARY}.stderr": 0.0081,
        "score.sftdiv_embedded_mc.acc": performance + 0.15,
        "score.sftdiv_embedded_mc.acc.stderr": 0.017,
    }
    for number, one in enumerate(("instruction", "response")):
        own = level if one == side else 0.3 * level
        wobble = 0.02 * math.sin(11 * seed + 5 * level + number)
        row |= {
            f"diversity.{one}.ngram_ratio": 0.08 + 0.04 * own + 0.01 * wobble,
            f"diversity.{one}.ngram_ratio_1": 0.01 + 0.002 * own,
            f"diversity.{one}.ngram_ratio_2": 0.05 + 0.02 * own + 0.01 * wobble,
            f"diversity.{one}.embedding_distance": 0.97 + 0.01 * own + 0.01 * wobble,
            f"diversity.{one}.length": length if one == "response" else 25.75 + wobble,
            f"diversity.{one}.compression_ratio": 6.9 - 0.6 * own + wobble,
            f"diversity.{one}.self_bleu": 0.95 - 0.03 * own + 0.1 * wobble,
            f"diversity.{one}.entropy": 7.1 + 0.4 * own + wobble,
        }
    return row


def replicate_columns(replicate: int) -> dict[str, Any]:
    """The columns of a row whose seeds are derived from its replicate."""
    derived = {f"seed.{part}": 1000 * replicate + number for number, part in enumerate(("ladder", "draw", "train"))}
    return {"replicate": replicate, "seed": 0, **derived}


def write_cell(
    folder: Path, row: Mapping[str, Any], *, subset: Any = None, config: Mapping[str, Any] | None = None
) -> Path:
    """Write one finished cell: ``subset.parquet`` (the column id) where there is one, and ``result.json``
    with its settings, last."""
    cell = folder / str(row["cell"])
    cell.mkdir(parents=True)
    if subset is not None:
        pq.write_table(pa.table({"id": [f"{index:032x}" for index in subset]}), cell / "subset.parquet")
    write_json(cell / RESULT, {**row, **flatten(config or synthetic_config(row), "config.")})
    return cell


def write_failure(folder: Path, name: str, *, message: str = "ValueError: the loss is nan at step 12") -> None:
    """Write a cell that failed while it trained."""
    cell = folder / name
    cell.mkdir(parents=True)
    write_json(
        cell / FAILURE,
        {"stage": "train", "message": message, "traceback": f"Traceback (most recent call last):\n{message}\n"},
    )


def synthetic_config(row: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a resolved config: what tells one ladder from another, and the command, which does not."""
    overrides = (
        f"strategy={row['strategy']} strategy.side={row['side']} diversity_level={row['level']} seed={row['seed']}"
    )
    return {
        "study": row["study"],
        "command": f"python -m sftdiv.run {overrides}",
        "seed": row["seed"],
        "diversity_level": row["level"],
        "strategy": {
            "name": row["strategy"],
            "side": row["side"],
            "tokenizer": "model",
            "units": {"low": 5, "high": 200},
        },
        "size": {"n": row["size"], "label_tokens": None},
        "corpus": {"name": row["corpus"], "seed": 0, "samples": 10000},
        "model": {"name": row["model"], "finetune": {"epochs": 4, "learning_rate": 0.002}},
        "eval": {"name": row["eval"], "primary": row["primary"], "seed": 0},
        "selection": {"match": row["match"], "k_min": "auto", "slack": 1.5, "universe": "own"},
        "paths": {"cache": "/root/.cache/sftdiv"},
    }


def _subset(rng: np.random.Generator, level: float) -> np.ndarray:
    """``SUBSET`` distinct members of the level's pool, which is nested in the pools of higher levels."""
    pool = round(1.5 * SUBSET + level * (UNIVERSE - 1.5 * SUBSET))
    return np.sort(rng.choice(pool, SUBSET, replace=False))
