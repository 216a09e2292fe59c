"""A dataset and its baseline, measured alike and set side by side; or a dataset alone.

In: a ``Survey`` and the artifacts of each dataset. Out: what ``measure.json`` holds of numbers.
Like ``survey`` this belongs to the entry points. The trade: units are found in each dataset by
itself, so that a baseline's need not be found again for every dataset; what one holds of the
other's is told beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import sftdiv
from sftdiv.data.build_corpus import rejected_file
from sftdiv.diversity.profile.comparison import compare
from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.diversity.registry import METRICS
from sftdiv.pipeline.artifacts import Artifacts
from sftdiv.pipeline.measure_dataset import Say, Survey
from sftdiv.protocols import Embedder
from sftdiv.records import SIDES, Corpus, Embeddings, SftdivError, Side
from sftdiv.storage.files import write_atomically
from sftdiv.units.tokens import frequencies


@dataclass(frozen=True)
class FittedTogether:
    """An embedder that learns from its texts, fitted on those of all datasets; else each dataset would be stretched to fill the space.

    Attributes:
        embedder: The embedder.
        corpora: All datasets.
        own: Which of them is embedded.
    """

    embedder: Embedder
    corpora: Sequence[Corpus]
    own: int

    def identity(self) -> Mapping[str, Any]:
        """That of the embedder, and what it is fitted on."""
        return {**self.embedder.identity(), "fitted_on": sorted(corpus.fingerprint for corpus in self.corpora)}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of one side of the own dataset, the same side of the others at hand."""
        side = next(side for side in SIDES if self.corpora[self.own].column(side) == list(texts))
        others = [
            text for number, corpus in enumerate(self.corpora) if number != self.own for text in corpus.column(side)
        ]
        found = self.embedder.embed([*texts, *others], partial)
        return Embeddings(found.vectors[: len(texts)], found.made_by)


def _fit_together(artifacts: Sequence[Artifacts]) -> None:
    if len(artifacts) > 1 and artifacts[0].embeds and getattr(artifacts[0].embedder, "learns", False):
        corpora = [each.corpus for each in artifacts]
        for own, each in enumerate(artifacts):
            each.embedder = FittedTogether(each.embedder, corpora, own)


def measure_all(survey: Survey, artifacts: Sequence[Artifacts], names: Sequence[str], say: Say) -> dict[str, Any]:
    """Measure one dataset, or a dataset and its baseline, on samples of one size.

    Args:
        survey: How.
        artifacts: Of each dataset.
        names: Of each dataset.
        say: Is told what begins.
    """
    _fit_together(artifacts)
    size = survey.matched.resolved(min(len(each.corpus) for each in artifacts))
    several = len(names) > 1
    datasets = [
        {"name": name, **survey.of(each, size=size, say=partial(_say_of, say, name) if several else say)}
        for each, name in zip(artifacts, names, strict=True)
    ]
    covered = (
        [coverage(artifacts[0], artifacts[1], strategy, survey.tokenizer) for strategy in survey.strategies]
        if several
        else []
    )
    return {
        "layout": LAYOUT,
        "size": size,
        "draws": survey.matched.draws,
        "tokenizer": survey.tokenizer,
        "datasets": datasets,
        "coverage": [one for one in covered if one is not None],
        "comparison": _comparison(datasets, size) if several else {},
        "catalogue": {name: metric.record() for name, metric in METRICS.items()},
    }


def copy_rejected(corpus: Corpus, path: Path) -> None:
    """Put the rows that could not be read beside the report, where there are any."""
    kept = rejected_file(corpus)
    if kept is not None and corpus.counts["rejected"]:
        write_atomically(path, kept.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Of this package and of the libraries that the numbers depend on."""
    return {"sftdiv": sftdiv.__version__} | {
        name: version(name) for name in ("numpy", "scipy", "pyarrow", "datasketch", "tokenizers")
    }


def _comparison(datasets: Sequence[Mapping[str, Any]], size: int) -> dict[str, Any]:
    """Every metric of each side, and every kind of unit, on samples of one size."""
    one, other = datasets
    examples = (one["counts"]["examples"], other["counts"]["examples"])
    directions = {name: metric.direction for name, metric in METRICS.items()}
    sides = {
        side: compare(
            one["sides"][side]["drawn"], other["sides"][side]["drawn"], directions, size=size, examples=examples
        )
        for side in one["sides"]
    }
    theirs = {(units["strategy"], units["side"]): units for units in other["units"] if "drawn" in units}
    units = [
        {"strategy": mine["strategy"], "side": mine["side"], **row}
        for mine in one["units"]
        if "drawn" in mine and (found := theirs.get((mine["strategy"], mine["side"])))
        for row in compare(
            mine["drawn"], found["drawn"], {}, size=size, examples=examples
        )  # each has types of its own: no direction
    ]
    return {"sides": sides, "units": units}


def _say_of(say: Say, name: str, text: str) -> None:
    say(f"{name}, {text}")


def coverage(
    artifacts: Artifacts, baseline: Artifacts, strategy: Mapping[str, Any], tokenizer: str
) -> dict[str, Any] | None:
    """How many of the types of unit that one dataset has the other holds too; None where a granularity's types have no lasting names.

    A mid-frequency token of the baseline is covered if it stands anywhere in the dataset, however
    rare; a tag if the dataset has it too.
    """
    if strategy["needs"] == "embeddings":
        return None  # topics are clusters of one dataset
    try:
        mine, theirs = artifacts.units(strategy).names, baseline.units(strategy).names
    except SftdivError:
        return None
    held_here, held_there = set(mine), set(theirs)
    if strategy["needs"] == "token_ids":
        held_here, held_there = (_held(each, strategy["side"], tokenizer) for each in (artifacts, baseline))
    shares = {
        "of_baseline": np.mean([name in held_here for name in theirs]),
        "of_dataset": np.mean([name in held_there for name in mine]),
    }
    return {
        "strategy": strategy["name"],
        "side": strategy["side"],
        **{name: float(share) for name, share in shares.items()},
    }


def _held(artifacts: Artifacts, side: Side, tokenizer: str) -> set[str]:
    """The tokens that stand anywhere on a side."""
    tokens = artifacts.token_ids(side, tokenizer)
    return {tokens.names[token] for token in np.flatnonzero(frequencies(tokens, "occurrences")).tolist()}
