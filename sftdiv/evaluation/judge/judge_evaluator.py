"""Pairwise judging as an evaluation of a checkpoint.

In: a checkpoint, prompts, a baseline and a judge behind an OpenAI-compatible endpoint. Out: win
rates and what is known of their noise; in the cell's ``evaluation/judge/`` every answer, every
verdict, AlpacaEval's ``annotations.json`` and how it all was made (``judging.json``). Both orders
of each pair are judged, since judges favour a place. The trade: whether everything is there and the
judge answers is found out before training, at the price of one call a run.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from sftdiv.evaluation.judge.answers import FILE as ANSWERS
from sftdiv.evaluation.judge.answers import Generation, write_answers
from sftdiv.evaluation.judge.baseline import baseline_answers, find_baseline
from sftdiv.evaluation.judge.client import FILE as VERDICTS
from sftdiv.evaluation.judge.client import Asking, check_judge, judge_cases
from sftdiv.evaluation.judge.comparisons import cases_of, pairs_of, tabulate, write_annotations, write_table
from sftdiv.evaluation.judge.prompts import PromptSource, load_prompts
from sftdiv.evaluation.judge.scores import scores_of
from sftdiv.llm.batch_requests import summary
from sftdiv.modeling.checkpoint import load_config
from sftdiv.modeling.generate import positions_of
from sftdiv.protocols import EvalContext
from sftdiv.records import ModelRef, Score, SftdivError
from sftdiv.storage.files import write_atomically

log = logging.getLogger(__name__)
RECORD = "judging.json"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who judges what, against whom.

    Attributes:
        asking: The judge and how it is asked.
        baseline: Whom the model is compared with; see `baseline.find_baseline`.
        generation: How answers are written.
        repeats: How often a sample of the prompts is judged in all; 1 measures no noise.
        repeat_share: Share of the prompts in that sample.
        max_unreadable: Share of the verdicts that may be missing.
        max_calls: HTTP requests to the judge at most, over all runs of a cell (but for the one
            before training).
        prices: Dollars a million tokens of the ``prompt`` and the ``completion``; None where not known.
        draws: Of the bootstrap.
        seed: Of the sample and the bootstrap.
    """

    asking: Asking
    baseline: str
    generation: Generation
    repeats: int
    repeat_share: float
    max_unreadable: float
    max_calls: int | None
    prices: Mapping[str, float | None]
    draws: int
    seed: int

    def __post_init__(self) -> None:
        if not self.baseline:
            raise SftdivError(
                "judge.baseline must say whom the model is compared with: base, reference, level:0.5, a cell or a file"
            )
        if self.repeats < 1 or not 0 < self.repeat_share <= 1:
            raise SftdivError(
                f"judge.repeats must be at least 1 and judge.repeat_share in (0, 1]; got {self.repeats}, {self.repeat_share}"
            )
        if not 0 <= self.max_unreadable <= 1:
            raise SftdivError(f"judge.max_unreadable={self.max_unreadable} must be a share, between 0 and 1")

    def warn_of_calls(self, prompts: int) -> None:
        """Say so where ``max_calls`` will hardly do for this many prompts; equal answers cost none, so that it might."""
        verdicts = 2 * (prompts + (self.repeats - 1) * math.ceil(self.repeat_share * prompts))
        if self.max_calls is not None and self.max_calls < verdicts:
            log.warning(
                "judge.max_calls=%d is less than the %d verdicts that %d prompts need",
                self.max_calls,
                verdicts,
                prompts,
            )


@dataclass(frozen=True, kw_only=True)
class JudgeEvaluator:
    """Scores a checkpoint by how often a judge prefers its answers."""

    name: str
    primary: str
    higher_is_better: bool
    judge: Judge
    prompts: Mapping[str, PromptSource]

    def check(self, exam: EvalContext) -> dict[str, bool | None]:
        """Refuse what cannot be judged: prompts, baseline, backend, endpoint, key and model are all asked for once."""
        prompts = load_prompts(self.prompts, exam)
        find_baseline(self.judge.baseline, prompts, exam)
        self.judge.generation.check(_positions(exam))
        check_judge(self.judge.asking)
        self.judge.warn_of_calls(len(prompts))
        return dict.fromkeys(("judge.win_rate", "judge.length_controlled_win_rate"), True)  # the rest is no performance

    def score(self, checkpoint: Path, exam: EvalContext) -> dict[str, Score]:
        """Answer, judge, and reckon; what an interrupted run has done is not done again."""
        judge, folder = self.judge, exam.folder / "judge"
        prompts = load_prompts(self.prompts, exam)
        baseline = find_baseline(judge.baseline, prompts, exam)
        names = {
            "candidate": exam.cell,
            "baseline": baseline.name,
            "judge": judge.asking.model,
            "template": judge.asking.template.name,
        }
        own = write_answers(
            checkpoint,
            checkpoint,
            prompts,
            folder / ANSWERS,
            generation=judge.generation,
            max_length=exam.max_length,
            device=exam.device,
        )
        other = baseline_answers(baseline, prompts, checkpoint, exam, generation=judge.generation) or own
        pairs = pairs_of(prompts, own, other)
        cases = cases_of(pairs, repeats=judge.repeats, repeat_share=judge.repeat_share, seed=judge.seed)
        log.info(
            "%d prompts against %s: %d verdicts of %s", len(prompts), baseline.name, len(cases), judge.asking.model
        )
        lines = judge_cases(cases, judge.asking, folder, max_unreadable=judge.max_unreadable, max_calls=judge.max_calls)
        columns = tabulate(cases, lines, names)
        spent = self._spent(lines)
        write_annotations(pairs, columns, names, folder)
        sources = Counter(prompt.source for prompt in prompts)
        self._write_record(
            folder, {**names, "baseline_setting": judge.baseline, "prompts": dict(sources), "spent": spent}, lines, exam
        )
        write_table(columns, folder)
        scores = scores_of(columns, seed=judge.seed, draws=judge.draws)
        return {f"judge.{name}": score for name, score in scores.items()} | {
            f"judge.{name}": Score(value, float("nan")) for name, value in spent.items()
        }

    def _spent(self, lines: Sequence[Mapping[str, Any] | None]) -> dict[str, float]:
        """Calls, tokens and, where prices are known, dollars that the verdicts took."""
        counts = summary(line for line in lines if line is not None)
        tokens = {name: float(counts["tokens"].get(name, 0)) for name in ("prompt_tokens", "completion_tokens")}
        prices = {f"{name}_tokens": price for name, price in self.judge.prices.items() if price is not None}
        cost = (
            {"cost": sum(tokens[name] * price / 1e6 for name, price in prices.items())}
            if len(prices) == len(tokens)
            else {}
        )
        return {"calls": float(counts["calls"]), **tokens, **cost}

    def _write_record(
        self, folder: Path, what: Mapping[str, Any], lines: Sequence[Mapping[str, Any] | None], exam: EvalContext
    ) -> None:
        """How the verdicts were made, as JSON; the endpoint's address and key are no part of it."""
        read_by = Counter(str(line["read_by"]) for line in lines if line is not None and "read_by" in line)
        if len(read_by) > 1:
            log.warning(
                "verdicts were read in two ways, %s: judge.verdict=choice or logprobs takes one for all", dict(read_by)
            )
        record = {
            **what,
            "asked": self.judge.asking.identity(),
            "generation": asdict(self.judge.generation) | {"max_length": exam.max_length},
            "repeats": self.judge.repeats,
            "repeat_share": self.judge.repeat_share,
            "verdicts": summary(line for line in lines if line is not None),
            "read_by": dict(read_by),
            "store": VERDICTS,
        }
        write_atomically(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _positions(exam: EvalContext) -> int | None:
    """Tokens that the model which will be trained has positions for, as the cell's settings tell; None where they do not."""
    model = yaml.safe_load((exam.folder.parent / "config.yaml").read_text(encoding="utf-8"))["model"]
    if model.get("source") == "scratch":
        return int(model["architecture"]["positions"])
    try:
        return positions_of(load_config(ModelRef(model["path"], exam.revision))) if model.get("path") else None
    except SftdivError:
        return None  # an adapter, or nothing at all: whoever loads it next tells which
