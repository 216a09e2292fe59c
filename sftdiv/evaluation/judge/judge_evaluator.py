"""Pairwise judging as an evaluator.

A checkpoint, prompts, a baseline and a judge behind an OpenAI-compatible endpoint come in; win rates
and estimates of their noise go out. The cell's ``evaluation/judge/`` receives every answer, every
verdict, AlpacaEval's ``annotations.json`` and a record of the settings (``judging.json``). Each pair is
judged in both orders, because judges favour a position. Prompts, baseline and judge are validated
before training, which costs one request per run.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sftdiv.evaluation.judge.answers import FILE as ANSWERS
from sftdiv.evaluation.judge.answers import write_answers
from sftdiv.evaluation.judge.baseline import baseline_answers, find_baseline
from sftdiv.evaluation.judge.client import FILE as VERDICTS
from sftdiv.evaluation.judge.client import check_judge, judge_cases
from sftdiv.evaluation.judge.comparisons import (
    cases_of,
    clean_verdicts,
    pairs_of,
    tabulate,
    write_annotations,
    write_table,
)
from sftdiv.evaluation.judge.judge_config import ComparisonConfig
from sftdiv.evaluation.judge.prompts import PromptSource, load_prompts, published_prompts
from sftdiv.evaluation.judge.scores import scores_of
from sftdiv.llm.batch_requests import summary
from sftdiv.protocols import Benchmark, EvalContext
from sftdiv.records import ModelRef, Score
from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import identity_of, settings_identity

log = logging.getLogger(__name__)
RECORD = "judging.json"
TOKEN_KINDS = ("prompt_tokens", "completion_tokens")
Lines = Sequence[Mapping[str, Any] | None]  # journal line of each case; None for equal answers


@dataclass(frozen=True, kw_only=True)
class JudgeEvaluator:
    """Scores a checkpoint by how often a judge prefers its answers.

    Attributes:
        name: Name of the option.
        primary: Score that a study uses.
        higher_is_better: Direction of the primary score.
        judge: Judge, baseline and settings of the comparison.
        prompts: Sources of prompts by name.
    """

    name: str
    primary: str
    higher_is_better: bool
    judge: ComparisonConfig
    prompts: Mapping[str, PromptSource]

    def identity(self) -> dict[str, Any]:
        """Settings that decide the scores; files by content."""
        prompts = [identity_of(source) for source in self.prompts.values()]  # of a duplicate the first source counts
        return {"kind": "judge", **settings_identity(self), "prompts": prompts}

    def check(self, context: EvalContext) -> dict[str, bool | None]:
        """Validate prompts, baseline, backend, endpoint, key and model.

        Returns:
            The scores that may be a study's performance, and whether higher is better.
        """
        prompts = load_prompts(self.prompts, context)
        find_baseline(self.judge.baseline, prompts, context)
        self.judge.generation.check(context.positions())
        check_judge(self.judge.asking)
        self.judge.warn_of_calls(len(prompts))
        return {"judge.win_rate": True}

    def score(self, checkpoint: Path, context: EvalContext) -> dict[str, Score]:
        """Generate answers, query the judge, compute scores; cached answers and verdicts are reused."""
        judge, folder = self.judge, context.folder / "judge"
        prompts = load_prompts(self.prompts, context)
        baseline = find_baseline(judge.baseline, prompts, context)
        names = {
            "candidate": context.cell,
            "baseline": baseline.name,
            "judge": judge.asking.model,
            "template": judge.asking.template.name,
        }
        answers = write_answers(
            ModelRef(str(checkpoint)),
            checkpoint,
            prompts,
            folder / ANSWERS,
            generation=judge.generation,
            max_length=context.max_length,
            device=context.device,
        )
        replies = baseline_answers(baseline, prompts, checkpoint, context, generation=judge.generation)
        pairs = pairs_of(prompts, answers, replies or answers)
        cases = cases_of(pairs, repeats=judge.repeats, repeat_share=judge.repeat_share, seed=judge.seed)
        log.info("%d prompts, baseline %s: %d verdicts of %s", len(prompts), baseline.name, len(cases), names["judge"])
        lines = judge_cases(cases, judge.asking, folder, max_unreadable=judge.max_unreadable, max_calls=judge.max_calls)
        columns = tabulate(cases, lines, names)
        usage = self._usage(lines)
        write_annotations(pairs, columns, names, folder)
        sources = dict(Counter(prompt.source for prompt in prompts))
        record = {**names, "baseline_setting": judge.baseline, "prompts": sources, "spent": usage}
        write_json(folder / RECORD, record | self._settings_record(lines, context.max_length))
        write_table(columns, folder)
        scores = scores_of(columns, seed=judge.seed, draws=judge.draws)
        scores |= {name: Score(value, math.nan) for name, value in usage.items()}
        return {f"judge.{name}": score for name, score in scores.items()}

    @property
    def is_public(self) -> bool:
        """Whether any prompts come from a file; held-out examples are kept from training by the split."""
        return any(hasattr(source, "published") for source in self.prompts.values())

    def benchmarks_identity(self) -> dict[str, Any]:
        """Sources of published prompts; files by content."""
        published = {name: source for name, source in self.prompts.items() if hasattr(source, "published")}
        return {"kind": "judge_prompts", "prompts": identity_of(published)}

    def benchmarks(self, world_tasks: Callable[[], Path]) -> list[Benchmark]:
        """The user turns of the published prompts, one benchmark per source."""
        from sftdiv.evaluation.task_items import prompt_text

        published = published_prompts(self.prompts)
        return [Benchmark(name, [prompt_text(prompt) for prompt in prompts]) for name, prompts in published.items()]

    def clean_scores(
        self, folder: Path, touched: Mapping[str, frozenset[int]], scores: Mapping[str, Score]
    ) -> dict[str, Score]:
        """``judge.win_rate.clean`` and its length-controlled form: those of the untouched prompts."""
        published = published_prompts(self.prompts)
        keys = {prompts[item].key for name, prompts in published.items() for item in touched.get(name, ())}
        verdicts = clean_verdicts(folder / "judge", keys)
        if verdicts is None:
            return {}
        clean = scores_of(verdicts, seed=self.judge.seed, draws=self.judge.draws)
        names = ("win_rate", "length_controlled_win_rate")
        return {f"judge.{name}.clean": clean[name] for name in names if f"judge.{name}" in scores and name in clean}

    def _usage(self, lines: Lines) -> dict[str, float]:
        """Calls, tokens and, where prices are known, dollars that the verdicts cost."""
        counts = summary(line for line in lines if line is not None)
        usage = {"calls": float(counts["calls"])}
        usage |= {kind: float(counts["tokens"].get(kind, 0)) for kind in TOKEN_KINDS}
        prices = {f"{name}_tokens": price for name, price in self.judge.prices.items() if price is not None}
        if len(prices) == len(TOKEN_KINDS):
            usage["cost"] = sum(usage[kind] * price / 1e6 for kind, price in prices.items())
        return usage

    def _settings_record(self, lines: Lines, max_length: int) -> dict[str, Any]:
        """Settings and counts of the verdicts for ``judging.json``; the endpoint's address and key are left out."""
        read_by = Counter(str(line["read_by"]) for line in lines if line is not None and "read_by" in line)
        if len(read_by) > 1:
            log.warning(
                "verdicts were read in two ways, %s: judge.verdict=choice or logprobs uses one for all", dict(read_by)
            )
        return {
            "asked": self.judge.asking.identity(),
            "generation": asdict(self.judge.generation) | {"max_length": max_length},
            "repeats": self.judge.repeats,
            "repeat_share": self.judge.repeat_share,
            "verdicts": summary(line for line in lines if line is not None),
            "read_by": dict(read_by),
            "store": VERDICTS,
        }
