"""The scores of a result row as the hub's card metadata and as lines of a table.

In: a flat row with ``score.NAME`` and ``score.NAME.stderr``. Out: values and errors by name; the
same as huggingface_hub's ``EvalResult``, of which it makes a card's ``model-index``. The trade:
that form has no place for a standard error, so it is a metric of its own there (``acc_stderr``, as
lm-eval calls it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

HELDOUT = "heldout"
SPENT = {
    f"judge.{name}" for name in ("calls", "prompt_tokens", "completion_tokens", "cost")
}  # on judging: nothing of the model


def scores_of(row: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """Value and standard error of each score that is a number, by its name; None where no error could be given.

    What a judge cost is in the row too, and is no score.
    """
    keys = [key for key in row if key.startswith("score.") and not key.endswith(".stderr")]
    names = [name for key in keys if (name := key.removeprefix("score.")) not in SPENT]
    values = {name: (_finite(row[f"score.{name}"]), _finite(row.get(f"score.{name}.stderr"))) for name in names}
    return {name: (value, error) for name, (value, error) in values.items() if value is not None}


def evaluation_results(row: Mapping[str, Any], *, corpus: str, hub_corpus: str | None) -> list[EvalResult]:
    """The scores for the card's metadata; of held-out loss the overall ones, for a source is no data set.

    Args:
        row: A result row.
        corpus: What the corpus is called.
        hub_corpus: Its id on the hub, where it is from there.
    """
    from huggingface_hub import EvalResult

    results = []
    for task, metric, (value, error) in _by_task(row):
        data = hub_corpus or corpus if task == HELDOUT else task
        said = f"{corpus}, held out" if task == HELDOUT else task
        for name, number in ((metric, value), (f"{metric}_stderr", error)):
            if number is not None:
                results.append(
                    EvalResult(
                        task_type="text-generation",
                        dataset_type=data,
                        dataset_name=said,
                        dataset_split=HELDOUT if task == HELDOUT else None,
                        metric_type=name,
                        metric_value=number,
                    )
                )
    return results


def _by_task(row: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[float, float | None]]]:
    """Task, metric and score: ``TASK.METRIC`` or ``TASK.METRIC.FILTER``, or ``heldout.[SOURCE.]METRIC``, whose sources are left out."""
    for name, score in scores_of(row).items():
        task, _, metric = name.partition(".")
        if task != HELDOUT or "." not in metric:
            yield task, metric, score


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
