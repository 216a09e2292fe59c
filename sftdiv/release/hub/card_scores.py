"""The scores of a result row (``score.NAME``, ``score.NAME.stderr``) as metadata and table rows of a model card.

The metadata are huggingface_hub's ``EvalResult``, of which it makes a card's ``model-index``. That form
has no field for a standard error, so the error is a metric of its own (``acc_stderr``, as lm-eval
calls it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

HELDOUT = "heldout"
# Cost of judging, which is no score of the model.
JUDGE_COST = {f"judge.{name}" for name in ("calls", "prompt_tokens", "completion_tokens", "cost")}


def scores_of(row: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """Value and standard error (or None) of each score that is a number, by its name; without the cost of judging."""
    keys = [key for key in row if key.startswith("score.") and not key.endswith(".stderr")]
    names = [name for key in keys if (name := key.removeprefix("score.")) not in JUDGE_COST]
    values = {name: (_finite(row[f"score.{name}"]), _finite(row.get(f"score.{name}.stderr"))) for name in names}
    return {name: (value, error) for name, (value, error) in values.items() if value is not None}


def evaluation_results(row: Mapping[str, Any], *, corpus: str, hub_corpus: str | None) -> list[EvalResult]:
    """The scores for the card's metadata; of held-out loss only the overall ones, since a source is no data set.

    Args:
        row: Result row.
        corpus: Name of the corpus.
        hub_corpus: Hub id of the corpus; None if it is not from the hub.
    """
    from huggingface_hub import EvalResult

    results = []
    for task, metric, (value, error) in _by_task(row):
        dataset = hub_corpus or corpus if task == HELDOUT else task
        dataset_name = f"{corpus}, held out" if task == HELDOUT else task
        for name, number in ((metric, value), (f"{metric}_stderr", error)):
            if number is not None:
                results.append(
                    EvalResult(
                        task_type="text-generation",
                        dataset_type=dataset,
                        dataset_name=dataset_name,
                        dataset_split=HELDOUT if task == HELDOUT else None,
                        metric_type=name,
                        metric_value=number,
                    )
                )
    return results


def _by_task(row: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[float, float | None]]]:
    """Task, metric and score of ``TASK.METRIC[.FILTER]`` and ``heldout.METRIC``, without those of single sources."""
    for name, score in scores_of(row).items():
        task, _, metric = name.partition(".")
        if task != HELDOUT or "." not in metric:
            yield task, metric, score


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
