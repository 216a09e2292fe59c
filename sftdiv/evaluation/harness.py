"""Scores from the lm-evaluation-harness, in this process.

A checkpoint folder and task names come in; every metric of every task goes out as ``TASK.METRIC``
with its standard error, and optionally the results per item as Parquet files. The harness's
``evaluate`` is called rather than ``simple_evaluate``, which spends seconds on collecting facts about
the machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.evaluation.lm_eval_model import language_model
from sftdiv.evaluation.loading import LoadedTasks, hide_progress_bars, load_tasks
from sftdiv.evaluation.request_cache import cache_requests
from sftdiv.evaluation.samples import write_group_samples, write_samples
from sftdiv.protocols import Keep
from sftdiv.records import Score

BOOTSTRAP_DRAWS = 1_000  # for the few metrics, such as a median, whose standard error has no closed form


def run_tasks(
    model_folder: Path,
    tasks: Sequence[str],
    *,
    include_path: Path | None,
    num_fewshot: int | Mapping[str, int] | None,
    limit: int | None,
    batch_size: int | str,
    chat_template: bool,
    device: str,
    seed: int,
    backend: str = "hf",
    samples: Path | None = None,
    keep: Keep | None = None,
) -> dict[str, Score]:
    """Evaluate a checkpoint on lm-eval tasks.

    Args:
        model_folder: Checkpoint written by ``fine_tune``.
        tasks: Names of tasks, groups or tags.
        include_path: Folder of task files; None for the harness's own tasks.
        num_fewshot: Number of few-shot examples, for all tasks or by requested name; None, or a
            missing name, for each task's own number.
        limit: Maximum number of items per task; None for all.
        batch_size: Number of items per batch, or ``auto``.
        chat_template: Whether prompts are put in the chat format that the model was trained in.
        device: Torch device name.
        seed: Seed of the choice of few-shot examples.
        backend: ``hf`` or ``vllm``.
        samples: Folder for the results per item, one Parquet file per task and group; None writes none.
        keep: Cache for the prompts; None builds them anew.

    Raises:
        SftdivError: If a task is unknown or cannot be loaded, or the backend is missing.
    """
    loaded = load_tasks(tasks, include_path)
    set_fewshot(loaded, num_fewshot, seed)
    model = language_model(
        model_folder, backend=backend, batch_size=batch_size, chat_template=chat_template, device=device, seed=seed
    )
    cache_requests(loaded.tasks, keep, seed=seed)
    results = _evaluate(model, loaded, limit=limit, log_samples=samples is not None, chat_template=chat_template)
    if samples is not None:
        for name, task_samples in results["samples"].items():
            write_samples(task_samples, samples / f"{name}.parquet")
        for name, group in loaded.groups.items():
            metrics = [metric.metric for metric in group.aggregate_metric_list or () if metric.weight_by_size]
            if metrics:
                of_group = {task.task_name: results["samples"][task.task_name] for task in group.get_all_tasks()}
                write_group_samples(of_group, metrics, samples / f"{name}.parquet")
    return _collect_scores(results["results"])


def _evaluate(
    model: Any, loaded: LoadedTasks, *, limit: int | None, log_samples: bool, chat_template: bool
) -> dict[str, Any]:
    """The harness's raw results."""
    from lm_eval.evaluator import evaluate

    with hide_progress_bars():
        results: dict[str, Any] = evaluate(
            model,
            {"tasks": dict(loaded.tasks), "groups": dict(loaded.groups)},
            limit=limit,
            bootstrap_iters=BOOTSTRAP_DRAWS,
            log_samples=log_samples,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
        )
    return results


def score_names(loaded: LoadedTasks) -> dict[str, bool | None]:
    """Names of the scores that loaded tasks will give, and whether higher is better.

    The direction is None where the task does not state it. A name that ends in a dot stands for all
    scores of a group, whose filters are known only after scoring.
    """
    names: dict[str, bool | None] = {}
    for task_name, task in loaded.tasks.items():
        for metric in task.aggregation():
            for task_filter in task._filters:
                names[_score_name(task_name, metric, task_filter.name)] = task.higher_is_better().get(metric)
    return names | {f"{group}.": None for group, settings in loaded.groups.items() if settings.has_aggregation}


def mean_score(scores: Sequence[Score]) -> Score:
    """The unweighted mean of scores; its standard error assumes independence: sqrt(sum of squares) / count."""
    count = len(scores)
    return Score(
        math.fsum(score.value for score in scores) / count,
        math.sqrt(math.fsum(score.stderr**2 for score in scores)) / count,
    )


def set_fewshot(loaded: LoadedTasks, num_fewshot: int | Mapping[str, int] | None, seed: int) -> None:
    """Set number and seed of the few-shot examples of every task; None leaves the task's own number."""
    for name, count in fewshot_counts(loaded, num_fewshot).items():
        loaded.tasks[name].set_config(key="num_fewshot", value=count)
        loaded.tasks[name].set_fewshot_seed(seed=seed)


def fewshot_counts(loaded: LoadedTasks, num_fewshot: int | Mapping[str, int] | None) -> dict[str, int]:
    """Number of few-shot examples by task; None is the task's own."""
    counts = {}
    for name, task in loaded.tasks.items():
        requested = num_fewshot.get(loaded.requested[name]) if isinstance(num_fewshot, Mapping) else num_fewshot
        # The task's own number is remembered, because a cached task may have been changed for an earlier model.
        default = task.__dict__.setdefault("default_num_fewshot", task.get_config("num_fewshot") or 0)
        counts[name] = int(default if requested is None else requested)
    return counts


def _score_name(task: str, metric: str, filter_name: str) -> str:
    """``TASK.METRIC``, or ``TASK.METRIC.FILTER`` unless the filter is ``none``."""
    return ".".join([task, metric] + [filter_name] * (filter_name != "none"))


def _collect_scores(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    """The harness's ``METRIC,FILTER`` and ``METRIC_stderr,FILTER`` of every task as scores."""
    scores = {}
    for task, metrics in results.items():
        for key, value in metrics.items():
            metric, _, filter_name = key.partition(",")
            if filter_name and not metric.endswith("_stderr") and isinstance(value, (int, float)):
                stderr = metrics.get(f"{metric}_stderr,{filter_name}")
                scores[_score_name(task, metric, filter_name)] = Score(
                    float(value), float(stderr) if isinstance(stderr, (int, float)) else math.nan
                )
    return scores
