"""Pairs of answers, what was said of them, and the files that keep it.

In: the candidate's and the baseline's answers to the same prompts, and the lines of the verdict
store. Out: the cases to judge, each with a key that holds all it depends on; ``verdicts.parquet``,
a row a verdict; ``annotations.json``, AlpacaEval's format, an entry a prompt. The trade: equal
answers are a tie by definition and no question, so they cost no call; they are counted as
``identical``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.answers import Replies
from sftdiv.evaluation.judge.prompt import Prompt, shown
from sftdiv.evaluation.judge.scores import IDENTICAL, ORDERS, mean_of_known
from sftdiv.llm.journal import FAILED
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash

TABLE, ANNOTATIONS = "verdicts.parquet", "annotations.json"
READ, UNREADABLE, REFUSED = "read", "unreadable", "refused"


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    prompt: Prompt
    candidate: str
    baseline: str


@dataclass(frozen=True)
class Case:
    """One question to the judge: a pair in one order; ``repeat`` is 0 for what counts and above it for what measures noise."""

    pair: Pair
    order: str
    repeat: int

    @property
    def answers(self) -> tuple[str, str]:
        """The answers in the order shown."""
        both = (self.pair.candidate, self.pair.baseline)
        return both if self.order == ORDERS[0] else both[::-1]

    def key(self, asked: Mapping[str, Any]) -> str:
        """A hash of all that a verdict depends on; ``asked`` is the judge and how it is asked."""
        return content_hash([self.pair.prompt.key, *self.answers, self.order, self.repeat, dict(asked)])


def pairs_of(prompts: Sequence[Prompt], candidate: Replies, baseline: Replies) -> list[Pair]:
    """The answers to each prompt, side by side."""
    return [Pair(prompt, shown(candidate[prompt.key]), shown(baseline[prompt.key])) for prompt in prompts]


def cases_of(pairs: Sequence[Pair], *, repeats: int, repeat_share: float, seed: int) -> list[Case]:
    """Each pair in both orders; and, for every further repeat, a sample of the pairs again.

    Args:
        pairs: All of them.
        repeats: How often the sample is judged in all; 1 repeats nothing.
        repeat_share: Share of the pairs in the sample.
        seed: Of the sample, which is the same for every repeat.
    """
    count = int(np.ceil(repeat_share * len(pairs)))
    sample = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:count])
    chosen = [(0, pair) for pair in pairs] + [(repeat, pairs[row]) for repeat in range(1, repeats) for row in sample]
    return [Case(pair, order, repeat) for repeat, pair in chosen for order in ORDERS]


def tabulate(
    cases: Sequence[Case], lines: Sequence[Mapping[str, Any] | None], names: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """The verdicts as columns, one entry a case.

    Args:
        cases: What was to be judged.
        lines: The verdict store's line of each; None where the answers are equal and nothing was asked.
        names: Of the ``candidate``, the ``baseline``, the ``judge`` and the ``template``.

    Returns:
        ``prompt, instruction, source, order, repeat, preference, first, verdict, state,
        candidate_chars, baseline_chars`` and the names; ``first`` is the probability that the
        answer shown first wins, ``preference`` that the candidate does; NaN where none was read.
    """
    first = np.array([0.5 if line is None else line.get("first", np.nan) for line in lines], dtype=np.float64)
    order = np.array([case.order for case in cases])
    return {
        "prompt": np.array([case.pair.prompt.key for case in cases]),
        "instruction": np.array([case.pair.prompt.instruction for case in cases], dtype=object),
        "source": np.array([case.pair.prompt.source for case in cases], dtype=object),
        "order": order,
        "repeat": np.array([case.repeat for case in cases], dtype=np.int64),
        "preference": np.where(order == ORDERS[0], first, 1 - first),
        "first": first,
        "verdict": np.array([None if line is None else line.get("verdict") for line in lines], dtype=object),
        "state": np.array([_state(line) for line in lines], dtype=object),
        "candidate_chars": np.array([len(case.pair.candidate) for case in cases], dtype=np.int64),
        "baseline_chars": np.array([len(case.pair.baseline) for case in cases], dtype=np.int64),
        **{name: np.full(len(cases), value, dtype=object) for name, value in names.items()},
    }


def write_table(columns: Mapping[str, NDArray[Any]], folder: Path) -> None:
    """Write the verdicts as Parquet, atomically."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    temporary = folder / f".{TABLE}"
    parquet.write_table(
        arrow.table({name: arrow.array(values.tolist()) for name, values in columns.items()}), temporary
    )
    temporary.replace(folder / TABLE)


def write_annotations(
    pairs: Sequence[Pair], columns: Mapping[str, NDArray[Any]], names: Mapping[str, str], folder: Path
) -> None:
    """Write AlpacaEval's annotations: ``preference`` is 1 + the mean probability that ``output_2``, the candidate, wins; null: unread."""
    both = columns["preference"][columns["repeat"] == 0].reshape(len(pairs), len(ORDERS))  # cases come pair by pair
    mean = mean_of_known(both.T)
    entries = [
        {
            "instruction": pair.prompt.instruction,
            "dataset": pair.prompt.source,
            "output_1": pair.baseline,
            "generator_1": names["baseline"],
            "output_2": pair.candidate,
            "generator_2": names["candidate"],
            "annotator": f"{names['judge']} ({names['template']})",
            "preference": None if np.isnan(value) else 1 + float(value),
        }
        for pair, value in zip(pairs, mean, strict=True)
    ]
    write_atomically(folder / ANNOTATIONS, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def _state(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return IDENTICAL
    if line["state"] == FAILED:
        return REFUSED if "refused" in line else UNREADABLE
    return READ
