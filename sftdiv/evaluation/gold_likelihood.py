"""Log-likelihood of the right answer as a score of every multiple-choice task of the harness.

Accuracy says only which choice is likeliest: for a small model most items are near ties, and a change of the model
moves few of them. The log-likelihood of the right answer moves with every item (Heineman et al. 2025, "Signal and
Noise", arXiv 2508.13144, use it per byte), and the harness computes it for accuracy already. Loaded tasks come in;
afterwards they give two more metrics:

- ``gold_logprob``: log p(answer | prompt), in nats. Long answers count most.
- ``gold_logprob_bytes``: the same divided by the UTF-8 bytes of the answer, as ``acc_bytes`` does. Every item counts
  alike; for a study, the better primary score of the two.

A task with a rule of its own (``process_results``) or with several right answers is left as it is. A group gets the
means over the items of its tasks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

GOLD, GOLD_BYTES = "gold_logprob", "gold_logprob_bytes"


def add_gold_likelihood(tasks: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    """Let tasks and groups of the harness give both metrics; a task that already does so stays as it is."""
    from lm_eval.api.metrics import mean
    from lm_eval.config.group import AggMetricConfig

    for task in tasks.values():
        if _has_one_answer(task) and GOLD not in task.aggregation():
            task.process_results = functools.partial(_with_gold, task, task.process_results)
            task._aggregation_list |= dict.fromkeys((GOLD, GOLD_BYTES), mean)
            task._higher_is_better |= dict.fromkeys((GOLD, GOLD_BYTES), True)
    for group in groups.values():
        known = {metric.metric for metric in group.aggregate_metric_list or ()}
        if group.has_aggregation and all(GOLD in task.aggregation() for task in group.get_all_tasks()):
            group.aggregate_metric_list += [
                AggMetricConfig(metric=metric) for metric in (GOLD, GOLD_BYTES) if metric not in known
            ]


def gold_scores(log_likelihoods: Sequence[float], position: int, answer: str) -> dict[str, float]:
    """Both metrics of one item.

    Args:
        log_likelihoods: Log-likelihoods of the choices in nats.
        position: Position of the right answer.
        answer: Its text.
    """
    gold = float(log_likelihoods[position])
    return {GOLD: gold, GOLD_BYTES: gold / len(answer.encode())}


def _has_one_answer(task: Any) -> bool:
    from lm_eval.api.task import ConfigurableTask

    return (
        isinstance(task, ConfigurableTask)
        and task.OUTPUT_TYPE == "multiple_choice"
        and task.config.process_results is None
        and type(task).process_results is ConfigurableTask.process_results
        and not task.multiple_target
    )


def _with_gold(
    task: Any, score: Callable[..., dict[str, Any]], item: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, Any]:
    """Replaces the task's ``process_results``; an item whose answer is none of its choices has neither metric."""
    metrics, choices = score(item, results), task.doc_to_choice(item)
    # As in Winogrande, the choices may be contexts: then the text gives the position, and the target is scored.
    gold = task.doc_to_text(item) if task.multiple_input else task.doc_to_target(item)
    if isinstance(gold, str) and gold in choices:
        gold = choices.index(gold)
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        return metrics
    answer = str(task.doc_to_target(item)) if task.multiple_input else choices[gold]
    return metrics | gold_scores([likelihood for likelihood, _ in results], gold, answer)
