"""Pairs of answers, the cases to judge, and the files of their verdicts.

The candidate's and the baseline's answers to the same prompts become cases, each with a key that
covers everything its verdict depends on. The verdicts go to ``verdicts.parquet``, one row per
verdict, and ``annotations.json`` in AlpacaEval's format, one entry per prompt. Equal answers are a tie
by definition: they need no request and are counted as ``identical``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.answers import Replies
from sftdiv.evaluation.judge.prompt import Prompt, join_answers
from sftdiv.evaluation.judge.scores import IDENTICAL, ORDERS, mean_of_known
from sftdiv.llm.answer_text import without_thoughts
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

    @property
    def is_identical(self) -> bool:
        """Whether the answers are equal."""
        return self.candidate == self.baseline


@dataclass(frozen=True)
class Case:
    """A pair in one order.

    Attributes:
        pair: The answers.
        order: One of ``ORDERS``.
        repeat: 0 for verdicts that count towards the scores, above 0 for those that measure noise.
    """

    pair: Pair
    order: str
    repeat: int

    @property
    def answers(self) -> tuple[str, str]:
        """The answers in the order shown."""
        both = (self.pair.candidate, self.pair.baseline)
        return both if self.order == ORDERS[0] else both[::-1]

    def key(self, judge: Mapping[str, Any]) -> str:
        """Hash of everything that the verdict depends on; ``judge`` is the judge's identity."""
        return content_hash([self.pair.prompt.key, *self.answers, self.order, self.repeat, dict(judge)])


def pairs_of(prompts: Sequence[Prompt], candidate: Replies, baseline: Replies) -> list[Pair]:
    """The two answers to each prompt, without what a reasoning model thinks first."""
    return [Pair(prompt, _shown(candidate[prompt.key]), _shown(baseline[prompt.key])) for prompt in prompts]


def _shown(answers: Sequence[str]) -> str:
    return join_answers([without_thoughts(answer) for answer in answers])


def cases_of(pairs: Sequence[Pair], *, repeats: int, repeat_share: float, seed: int) -> list[Case]:
    """Each pair in both orders and, for every further repeat, a sample of the pairs again.

    Args:
        pairs: All pairs.
        repeats: Number of times that the sample is judged; 1 repeats nothing.
        repeat_share: Share of the pairs in the sample.
        seed: Seed of the sample, which is the same for every repeat.
    """
    count = int(np.ceil(repeat_share * len(pairs)))
    sample = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:count])
    numbered = [(0, pair) for pair in pairs] + [(repeat, pairs[row]) for repeat in range(1, repeats) for row in sample]
    return [Case(pair, order, repeat) for repeat, pair in numbered for order in ORDERS]


def tabulate(
    cases: Sequence[Case], lines: Sequence[Mapping[str, Any] | None], names: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """The verdicts as columns, one entry per case.

    Args:
        cases: The cases.
        lines: Journal line of each case; None where the answers are equal.
        names: Names of the ``candidate``, the ``baseline``, the ``judge`` and the ``template``.

    Returns:
        ``prompt, instruction, source, order, repeat, preference, first, verdict, state,
        candidate_chars, baseline_chars`` and the names. ``first`` is the probability that the answer
        shown first wins, ``preference`` that the candidate wins; NaN where the verdict is unreadable.
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}), buffer)
    write_atomically(folder / TABLE, buffer.getvalue())


def clean_verdicts(folder: Path, touched: Set[str]) -> dict[str, NDArray[Any]] | None:
    """The verdicts that `write_table` wrote, without those on some prompts.

    Args:
        folder: Folder of the table.
        touched: Keys of the prompts to leave out.

    Returns:
        The columns; None if no prompt is left out, or none remains.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(folder / TABLE)
    columns = {name: np.array(table.column(name).to_pylist(), dtype=object) for name in table.column_names}
    is_clean = np.array([key not in touched for key in columns["prompt"]], dtype=bool)
    if is_clean.all() or not is_clean.any():
        return None
    return {name: values[is_clean] for name, values in columns.items()}


def write_annotations(
    pairs: Sequence[Pair], columns: Mapping[str, NDArray[Any]], names: Mapping[str, str], folder: Path
) -> None:
    """Write AlpacaEval's annotations.

    ``preference`` is 1 + the mean probability that ``output_2``, the candidate, wins; null where no
    verdict is readable.
    """
    by_pair = columns["preference"][columns["repeat"] == 0].reshape(len(pairs), len(ORDERS))  # cases are in this order
    preferences = mean_of_known(by_pair.T)
    entries = [
        {
            "instruction": pair.prompt.instruction,
            "dataset": pair.prompt.source,
            "output_1": pair.baseline,
            "generator_1": names["baseline"],
            "output_2": pair.candidate,
            "generator_2": names["candidate"],
            "annotator": f"{names['judge']} ({names['template']})",
            "preference": None if np.isnan(preference) else 1 + float(preference),
        }
        for pair, preference in zip(pairs, preferences, strict=True)
    ]
    write_atomically(folder / ANNOTATIONS, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def _state(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return IDENTICAL
    if line["state"] == FAILED:
        return REFUSED if "refused" in line else UNREADABLE
    return READ
