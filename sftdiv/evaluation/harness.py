"""Scores from the lm-evaluation-harness, in this process.

In: a checkpoint folder and names of tasks. Out: every metric of every task, as ``TASK.METRIC``,
with its standard error, and what the model did with each item. The harness's `evaluate` is called,
not `simple_evaluate`, which spends seconds on collecting facts about the machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.evaluation.lm_eval_model import language_model
from sftdiv.evaluation.loading import Loaded, load_tasks, quiet
from sftdiv.evaluation.request_cache import remember_requests
from sftdiv.evaluation.samples import write_samples
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
        model_folder: From `fine_tune`.
        tasks: Names of tasks, groups or tags.
        include_path: A folder with task files; None for the harness's own.
        num_fewshot: Solved examples in a prompt, of all tasks or by the name asked for; None, and
            for a name that is not there, leaves it to the task.
        limit: Items of a task at most; None for all.
        batch_size: Items at once, or "auto".
        chat_template: Whether prompts are put in the chat format that the model was trained in.
        device: torch's name of where it runs.
        seed: Of the choice of few-shot examples.
        backend: "hf" or "vllm".
        samples: A folder for what the model did with each item, one Parquet file a task; None writes none.
        keep: Where the prompts are kept for the next model; None makes them anew.

    Raises:
        SftdivError: A task is unknown or cannot be loaded, or the backend is missing.
    """
    from lm_eval.evaluator import evaluate

    loaded = load_tasks(tasks, include_path)
    _set_up(loaded, num_fewshot, seed)
    language = language_model(
        model_folder, backend=backend, batch_size=batch_size, chat_template=chat_template, device=device, seed=seed
    )
    remember_requests(loaded.tasks, keep, seed=seed)
    with quiet():
        results = evaluate(
            language,
            {"tasks": dict(loaded.tasks), "groups": dict(loaded.groups)},
            limit=limit,
            bootstrap_iters=BOOTSTRAP_DRAWS,
            log_samples=samples is not None,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
        )
    if samples is not None:
        for name, of_task in results["samples"].items():
            write_samples(of_task, samples / f"{name}.parquet")
    return {
        name: score for task, metrics in results["results"].items() for name, score in _scores(task, metrics).items()
    }


def score_names(loaded: Loaded) -> dict[str, bool | None]:
    """The scores that loaded tasks will give, and whether more of each is better (None where the task does not say)."""
    names = {
        _name(name, metric, each.name): task.higher_is_better().get(metric)
        for name, task in loaded.tasks.items()
        for metric in task.aggregation()
        for each in task._filters
    }
    pooled = {f"{group}.": None for group, settings in loaded.groups.items() if settings.has_aggregation}
    return names | pooled  # the filters of a group's scores are known once it is scored


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of some scores, each counted once; its standard error as if they were independent, sqrt(sum of squares) / count."""
    count = len(scores)
    return Score(
        math.fsum(score.value for score in scores) / count,
        math.sqrt(math.fsum(score.stderr**2 for score in scores)) / count,
    )


def _set_up(loaded: Loaded, num_fewshot: int | Mapping[str, int] | None, seed: int) -> None:
    for name, task in loaded.tasks.items():
        shots = num_fewshot.get(loaded.asked[name]) if isinstance(num_fewshot, Mapping) else num_fewshot
        own = task.__dict__.setdefault(
            "num_fewshot_of_its_own", task.get_config("num_fewshot") or 0
        )  # it may have been set up before
        task.set_config(key="num_fewshot", value=own if shots is None else shots)
        task.set_fewshot_seed(seed=seed)


def _name(task: str, metric: str, kind: str) -> str:
    """A score's name; its filter is named unless it is the one that does nothing."""
    return ".".join([task, metric] + [kind] * (kind != "none"))


def _scores(task: str, metrics: Mapping[str, Any]) -> dict[str, Score]:
    """The harness's ``METRIC,FILTER`` and ``METRIC_stderr,FILTER`` as scores."""
    scores = {}
    for key, value in metrics.items():
        metric, _, kind = key.partition(",")
        if kind and not metric.endswith("_stderr") and isinstance(value, (int, float)):
            stderr = metrics.get(f"{metric}_stderr,{kind}")
            scores[_name(task, metric, kind)] = Score(
                float(value), float(stderr) if isinstance(stderr, (int, float)) else float("nan")
            )
    return scores
