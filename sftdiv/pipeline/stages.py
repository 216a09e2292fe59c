"""The stages of one run, each a function from what earlier stages produced to what later ones take.

Here the specification becomes flat, typed values: universe, selection, diversity of the selected
examples, fine-tuning, samples.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.spec import RunSpec
from sftdiv.data.build_corpus import rejected_file
from sftdiv.diversity.entropy import entropy
from sftdiv.diversity.registry import describe
from sftdiv.diversity.unit_coverage import unit_coverage
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.protocols import SelectionProblem
from sftdiv.records import SIDES, Corpus, ModelRef, Selection, SftdivError, Units, Universe
from sftdiv.selection.universe import build_universe, group_share
from sftdiv.storage.files import write_atomically
from sftdiv.tracking.run_tracker import RunTracker
from sftdiv.training.summary import FILE, row
from sftdiv.units.encoding import tokenizer_identity
from sftdiv.units.tagging.tag_map import save_tag_map

log = logging.getLogger(__name__)


def find_universe(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> Universe:
    """The examples that may be chosen, with their strata."""
    corpus = artifacts.data.corpus
    words = np.array([len(text.split()) for text in artifacts.data.texts("response")])
    excluded = _excluded(spec, artifacts, units)
    return build_universe(excluded, lengths=words, sources=corpus.column("source"), match=spec.selection.match)


def select(spec: RunSpec, artifacts: RunArtifacts, units: Units, universe: Universe) -> Selection:
    """The examples that the run's selector chooses at its level; with ``size=full`` the whole universe."""
    data, size = artifacts.data, spec.selection.size
    in_examples = size.everything or size.label_tokens is None
    weights = np.ones(len(data.corpus)) if in_examples else _label_tokens(spec, artifacts)
    problem = SelectionProblem(
        units=units,
        universe=universe,
        level=spec.selection.level,
        size=float(len(universe.indices)) if size.everything else _size(spec, artifacts, weights),
        examples=None if size.everything else int(size.n),
        weights=weights,
        side=spec.strategy.side,
        seed=spec.seed,
        embeddings=data.embeddings,
        token_ids=lambda side: data.token_ids(side, artifacts.tokenizer),
        column=data.corpus.column,
        keep=artifacts.keep_selection(universe),
    )
    selection = spec.selection.selector.select(problem)
    columns = selection.columns
    every_level_alike = columns.get("k_min", 0) == columns.get("k_max", 1)
    if every_level_alike and units.matrix.shape[1] < len(data.corpus):
        log.warning(
            "k_min = k_max = %d: every level is the same set; a smaller size or slack leaves room for levels",
            columns["k_max"],
        )
    return selection


def diversity(spec: RunSpec, artifacts: RunArtifacts, units: Units, selection: Selection) -> dict[str, Any]:
    """Metrics of the selected examples: texts of both sides, units, length and sources."""
    data, rows = artifacts.data, selection.indices
    sides = {}
    for side in SIDES:
        texts = data.texts(side)
        sides[side] = describe(
            data.token_ids(side, artifacts.tokenizer).take(rows),
            [texts[row] for row in rows],
            data.embeddings(side)[rows] if data.embeds else None,
            metrics=spec.metrics,
            rng=np.random.default_rng(spec.seed),
        )
    selected_units = units.matrix[rows]
    counts = np.asarray(selected_units.sum(axis=0)).ravel()
    of_units = {
        "types": int(np.count_nonzero(counts)),
        "per_example": selected_units.nnz / len(rows),
        "entropy": entropy(counts),
        "coverage": unit_coverage(selected_units),
    }
    table = data.corpus.table.select(rows)
    words = [len(text.split()) for text in table["response"]]
    sources = Counter(table["source"])
    shares = {name or "unnamed": count / len(rows) for name, count in sorted(sources.items())}
    return {
        "diversity": {**sides, "units": of_units},
        "subset": {"response_words": float(np.mean(words)), "share": shares},
    }


def selection_columns(universe: Universe, units: Units, selection: Selection) -> dict[str, Any]:
    """The subset's size, the selector's own columns, the universe and the units as columns of the row."""
    return {
        "n": len(selection),
        **selection.columns,
        "universe": len(universe.indices),
        "left_out": dict(universe.counts),
        "units": dict(units.made_by),
    }


def counting_columns(artifacts: RunArtifacts) -> dict[str, Any]:
    """The tokenizer that units and metrics are counted with, and embedding metadata, including the truncated fraction."""
    tokenizer = artifacts.tokenizer
    columns: dict[str, Any] = {"tokenizer": tokenizer_identity(tokenizer.path, artifacts.spec.model.revision)}
    if artifacts.data.embeds:
        columns["embeddings"] = {side: dict(artifacts.data.embedding_record(side).made_by) for side in SIDES}
    return columns


def train(
    spec: RunSpec,
    artifacts: RunArtifacts,
    selection: Selection,
    base: ModelRef,
    folder: Path,
    tracker: RunTracker,
) -> dict[str, Any]:
    """Fine-tune the base model on the selected examples, unless an interrupted run has finished that.

    Returns:
        The training's columns of the row.
    """
    record_path = folder / FILE
    if record_path.exists():
        return row(json.loads(record_path.read_text(encoding="utf-8")))
    from sftdiv.training.distributed.launch import launch

    table = artifacts.data.corpus.table.select(selection.indices)
    record = launch(
        base,
        table["messages"][:],
        table["id"][:],
        folder,
        groups=table["group"][:],
        config=artifacts.training,
        seed=spec.seed,
        tracker=tracker,
    )
    return row(record)


def export_base_model(spec: RunSpec, base: ModelRef, folder: Path) -> dict[str, Any]:
    """The base model as it is, in the same form as a fine-tuned one, so that both are evaluated alike."""
    from sftdiv.training.fine_tune import save_untrained

    if not (folder / FILE).exists():
        data = spec.training.data
        save_untrained(base, folder, template=data.template, prefer_own=data.prefer_own)
    return row(json.loads((folder / FILE).read_text(encoding="utf-8")))


def write_samples(spec: RunSpec, artifacts: RunArtifacts, cell: Path) -> None:
    """Generate answers to some held-out instructions, spread over the sources, into ``samples.jsonl``."""
    from sftdiv.modeling.generate import generate

    table = artifacts.data.corpus.table
    heldout = table.filter(lambda heldout: heldout, input_columns="heldout", keep_in_memory=True)
    by_source = np.argsort(np.array(heldout["source"][:], dtype=object), kind="stable")
    spread = np.linspace(0, len(heldout) - 1, min(spec.samples, len(heldout))).astype(int)
    shown = heldout.select(by_source[spread])
    max_length = spec.model.max_length
    answers = generate(
        cell / "model",
        [messages[:-1] for messages in shown["messages"]],
        max_new_tokens=max_length // 2,
        max_length=max_length,
        device=artifacts.trainer.device,
    )
    names = ("id", "source", "instruction", "reference", "response")
    columns = zip(shown["id"], shown["source"], shown["instruction"], shown["response"], answers, strict=True)
    lines = [json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) for values in columns]
    write_atomically(cell / "samples.jsonl", "".join(f"{line}\n" for line in lines))


def write_tag_map(units: Units, cell: Path) -> None:
    """Write the map from raw to final tags, to be read, edited and given back as ``strategy.units.tag_map``."""
    if "tag_map" in units.record:
        save_tag_map(units.record["tag_map"], units.record["tag_counts"], cell / "tag_map.csv")


def copy_rejected(corpus: Corpus, cell: Path) -> None:
    """Copy the rows that reading rejected into the cell, where there are any."""
    path = rejected_file(corpus)
    if path is not None and corpus.counts["rejected"]:
        write_atomically(cell / path.name, path.read_text(encoding="utf-8"))


def write_subset(selection: Selection, artifacts: RunArtifacts, path: Path) -> None:
    """Write the selected examples in the order drawn, as Parquet, atomically."""
    temporary = path.with_name(f".{path.name}")
    artifacts.data.corpus.table.select(selection.indices).to_parquet(str(temporary))
    temporary.replace(path)


def _excluded(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> dict[str, NDArray[np.bool_]]:
    """Examples that may not be chosen, by reason, in the order in which the reasons are counted."""
    rules, corpus = spec.selection, artifacts.data.corpus
    excluded = {"heldout": np.array(corpus.column("heldout")), "read_by_base": artifacts.read_by_base}
    if rules.sources is not None:
        sources = corpus.column("source")
        if unknown := set(rules.sources) - set(sources):
            raise SftdivError(
                f"selection.sources names {', '.join(sorted(unknown))}; the corpus has: {', '.join(sorted(set(sources)))}"
            )
        excluded["source"] = np.array([source not in rules.sources for source in sources])
    if rules.response_tokens is not None:
        shortest, longest = rules.response_tokens
        tokens = _response_tokens(artifacts)
        excluded["response_tokens"] = (tokens < shortest) | (tokens > longest)
    if rules.replicate < 1:
        excluded["replicate"] = ~group_share(corpus.column("group"), rules.replicate, salt=f"replicate:{spec.seed}")
    if rules.universe is not None:
        matrix = artifacts.data.units(rules.universe).matrix
        excluded[f"no_{rules.universe.name}_unit"] = np.diff(matrix.indptr) == 0
    return excluded | {"no_unit": np.diff(units.matrix.indptr) == 0}


def _response_tokens(artifacts: RunArtifacts) -> NDArray[np.int64]:
    """Tokens of each response under the model's tokenizer, shape (examples,)."""
    return artifacts.data.token_ids("response", artifacts.tokenizer).lengths()


def _size(spec: RunSpec, artifacts: RunArtifacts, weights: NDArray[np.float64]) -> float:
    """Where drawing stops: a number of examples, of label tokens, or (``auto``) of those that n examples hold on average.

    The average is over everything that may be trained on, so that it is one number for all strategies,
    sides and levels.
    """
    size = spec.selection.size
    if size.label_tokens != "auto":
        return float(size.n if size.label_tokens is None else size.label_tokens)
    selectable = ~(np.array(artifacts.data.corpus.column("heldout")) | artifacts.read_by_base)
    return float(round(int(size.n) * weights[selectable].mean()))


def _label_tokens(spec: RunSpec, artifacts: RunArtifacts) -> NDArray[np.float64]:
    """Label tokens of each response, shape (examples,): its own and its end, up to the length that training cuts at."""
    return np.minimum(_response_tokens(artifacts) + 1, spec.model.max_length).astype(np.float64)
