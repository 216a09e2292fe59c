"""The steps of one run, each a function from what the steps before it gave to what the next ones take.

In: the config and its artifacts. Out: the subset, its diversity, the checkpoint, the scores. Stages
get flat values from here on. This file and `artifacts` belong to the entry points, for which they
know the config.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from sftdiv.config.build import training_settings
from sftdiv.data.build_corpus import rejected_file
from sftdiv.diversity.catalogue import metric_families
from sftdiv.diversity.describe import describe
from sftdiv.diversity.entropy import entropy
from sftdiv.diversity.unit_coverage import unit_coverage
from sftdiv.pipeline.artifacts import Artifacts, plain
from sftdiv.protocols import Tracker
from sftdiv.records import SIDES, Corpus, Ladder, ModelRef, SftdivError, Subset, Units, Universe
from sftdiv.selection.choose import choose
from sftdiv.selection.universe import build_universe, group_share
from sftdiv.storage.files import write_atomically
from sftdiv.training.summary import FILE, row
from sftdiv.units.encoding import tokenizer_identity
from sftdiv.units.tagging.tag_map import save_tag_map

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """A subset, the units it was chosen by, and who was left out of the universe, by reason."""

    subset: Subset
    units: Units
    left_out: dict[str, int]


def universe_and_ladders(config: DictConfig, artifacts: Artifacts, units: Units) -> tuple[Universe, list[Ladder]]:
    """Who may be chosen, and the ladder of each of its strata."""
    rules = config.selection
    words = np.array([len(text.split()) for text in artifacts.texts("response")])
    left_out, sources = _left_out(config, artifacts, units), artifacts.corpus.column("source")
    universe = build_universe(left_out, lengths=words, sources=sources, match=rules.match)
    return universe, artifacts.ladders(plain(config.strategy), units, universe, prune=rules.prune, seed=rules.seed)


def draw(
    config: DictConfig, artifacts: Artifacts, units: Units, universe: Universe, ladders: Sequence[Ladder]
) -> Selection:
    """The subset at the level; with ``size=full`` all of the universe."""
    rules, size = config.selection, config.size
    everyone = size.n == "all"
    weights = np.ones(len(artifacts.corpus)) if everyone or size.label_tokens is None else _label_tokens(artifacts)
    asked = len(universe.indices) if everyone else _size(config, artifacts, weights)
    subset = choose(
        units,
        universe,
        ladders,
        level=config.diversity_level,
        size=asked,
        weights=weights,
        k_min=rules.k_min,
        slack=1.0 if everyone else rules.slack,
        seed=config.seed,
        floor=None if everyone or rules.k_min_size is None else asked * rules.k_min_size / size.n,
    )
    if subset.k_min == subset.k_max and units.matrix.shape[1] < len(artifacts.corpus):
        log.warning(
            "k_min = k_max = %d: every level is the same set; a smaller size or slack leaves room for levels",
            subset.k_max,
        )
    return Selection(subset, units, dict(universe.counts))


def diversity(config: DictConfig, selection: Selection, artifacts: Artifacts) -> dict[str, Any]:
    """Metrics of the subset: both sides' texts, its units, its length and its sources."""
    rows = selection.subset.indices
    sides = {}
    for side in SIDES:
        texts = artifacts.texts(side)
        tokens = artifacts.token_ids(side, artifacts.tokenizer).take(rows)
        vectors = artifacts.embeddings(side)[rows] if artifacts.embeds else None
        sides[side] = describe(
            tokens,
            [texts[row] for row in rows],
            vectors,
            metrics=metric_families(plain(config.diversity.metrics)),
            rng=np.random.default_rng(config.seed),
        )
    held = selection.units.matrix[rows]
    of_type = np.asarray(held.sum(axis=0)).ravel()
    units = {"types": int(np.count_nonzero(of_type)), "per_example": held.nnz / len(rows), "entropy": entropy(of_type)}
    units["coverage"] = unit_coverage(held)
    words = [len(text.split()) for text in artifacts.corpus.table.select(rows)["response"]]
    sources = Counter(artifacts.corpus.table.select(rows)["source"])
    shares = {name or "unnamed": count / len(rows) for name, count in sorted(sources.items())}
    return {
        "diversity": {**sides, "units": units},
        "subset": {"response_words": float(np.mean(words)), "share": shares},
    }


def ladder_numbers(selection: Selection) -> dict[str, Any]:
    """The subset's size, k, pool and universe as columns of the row."""
    subset = selection.subset
    numbers = {name: getattr(subset, name) for name in ("k_min", "k_max", "k_asked", "k_reached", "pool", "universe")}
    return {"n": len(subset), **numbers, "left_out": selection.left_out, "units": dict(selection.units.made_by)}


def how_counted(config: DictConfig, artifacts: Artifacts) -> dict[str, Any]:
    """The tokenizer that units and metrics were counted with, and how the embeddings were made (of texts cut, the share)."""
    used: dict[str, Any] = {"tokenizer": tokenizer_identity(artifacts.tokenizer, config.model.revision)}
    if artifacts.embeds:
        used["embeddings"] = {side: dict(artifacts.embedding_record(side).made_by) for side in SIDES}
    return used


def train(
    config: DictConfig, artifacts: Artifacts, selection: Selection, base: str, folder: Path, tracker: Tracker
) -> dict[str, Any]:
    """Fine-tune the base on the subset; a model that an interrupted run has finished is kept. Gives the columns of the row."""
    done = folder / FILE
    if done.exists():
        return row(json.loads(done.read_text(encoding="utf-8")))
    from sftdiv.training.distributed.launch import launch

    chosen = artifacts.corpus.table.select(selection.subset.indices)
    record = launch(
        ModelRef(base, config.model.revision),
        chosen["messages"][:],
        chosen["id"][:],
        folder,
        groups=chosen["group"][:],
        config=training_settings(config),
        seed=config.seed,
        tracker=tracker,
    )
    return row(record)


def export_base_model(config: DictConfig, base: str, folder: Path) -> dict[str, Any]:
    """The base model as it is, in the same form as a fine-tuned one, so that both are evaluated alike."""
    from sftdiv.training.fine_tune import save_untrained

    if not (folder / FILE).exists():
        template = config.model.template
        save_untrained(
            ModelRef(base, config.model.revision), folder, template=template.jinja, prefer_own=template.prefer_own
        )
    return row(json.loads((folder / FILE).read_text(encoding="utf-8")))


def write_samples(config: DictConfig, artifacts: Artifacts, cell: Path) -> None:
    """Let the model answer some held-out instructions, spread over the sources, as ``samples.jsonl``."""
    from sftdiv.modeling.generate import generate

    held = artifacts.corpus.table.filter(lambda held: held, input_columns="heldout", keep_in_memory=True)
    by_source = np.argsort(np.array(held["source"][:], dtype=object), kind="stable")
    shown = held.select(by_source[np.linspace(0, len(held) - 1, min(config.samples, len(held))).astype(int)])
    answers = generate(
        cell / "model",
        [messages[:-1] for messages in shown["messages"]],
        max_new_tokens=config.model.max_length // 2,
        max_length=config.model.max_length,
        device=artifacts.hardware.device,
    )
    columns = zip(shown["id"], shown["source"], shown["instruction"], shown["response"], answers, strict=True)
    names = ("id", "source", "instruction", "reference", "response")
    lines = [json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) for values in columns]
    write_atomically(cell / "samples.jsonl", "".join(f"{line}\n" for line in lines))


def write_tag_map(units: Units, cell: Path) -> None:
    """Put the map from raw to final tags beside the result, to be read, edited and given back as ``strategy.units.tag_map``."""
    if "tag_map" in units.record:
        save_tag_map(units.record["tag_map"], units.record["tag_counts"], cell / "tag_map.csv")


def copy_rejected(corpus: Corpus, cell: Path) -> None:
    """Put the rows that reading rejected beside the result, where there are any."""
    path = rejected_file(corpus)
    if path is not None and corpus.counts["rejected"]:
        write_atomically(cell / path.name, path.read_text(encoding="utf-8"))


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
        sources = corpus.column("source")
        if unknown := set(rules.sources) - set(sources):
            raise SftdivError(
                f"selection.sources names {', '.join(sorted(unknown))}; the corpus has: {', '.join(sorted(set(sources)))}"
            )
        left_out["source"] = np.array([source not in rules.sources for source in sources])
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


def _size(config: DictConfig, artifacts: Artifacts, weights: NDArray[np.float64]) -> float:
    """Where drawing stops: a number of examples, of label tokens, or (``auto``) of those that n selectable responses hold on average.

    The average is over everything that may be trained on, so that it is one number for all
    strategies, sides and levels.
    """
    size = config.size
    if size.label_tokens != "auto":
        return float(size.n if size.label_tokens is None else size.label_tokens)
    selectable = ~(np.array(artifacts.corpus.column("heldout")) | artifacts.read_by_base)
    return float(round(size.n * weights[selectable].mean()))


def _label_tokens(artifacts: Artifacts) -> NDArray[np.float64]:
    """Tokens that each response gives to learn, shape (examples,): its own and its end, up to the length that training cuts at."""
    return np.minimum(_response_tokens(artifacts) + 1, artifacts.config.model.max_length).astype(np.float64)
