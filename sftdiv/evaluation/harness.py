"""Scores from the lm-evaluation-harness, in this process.

In: a checkpoint folder and names of tasks. Out: every metric of every task, as ``TASK.METRIC``, with its standard error.
With ``include_path`` only the tasks in that folder are known and no network is needed; without it the harness's own are, which download.
The harness's `evaluate` is called, not `simple_evaluate`, which spends seconds on collecting facts about the machine.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.causal.checkpoint import load_model, load_tokenizer
from sftdiv.records import Score, SftdivError

BOOTSTRAP_DRAWS = 1_000  # for the few metrics, such as a median, whose standard error has no closed form


def run_tasks(
    model_folder: Path,
    tasks: Sequence[str],
    *,
    include_path: Path | None,
    num_fewshot: int | None,
    limit: int | None,
    batch_size: int,
    chat_template: bool,
    device: str,
    seed: int,
) -> dict[str, Score]:
    """Evaluate a checkpoint on lm-eval tasks.

    Args:
        model_folder: From `fine_tune`.
        tasks: Names of tasks, groups or tags.
        include_path: A folder with task files; None for the harness's own.
        num_fewshot: Examples in a prompt; None leaves it to each task.
        limit: Items of a task at most; None for all.
        batch_size: Items at once.
        chat_template: Whether prompts are put in the chat format that the model was trained in.
        device: torch's name of where it runs.
        seed: Of the choice of few-shot examples.

    Raises:
        SftdivError: A task is unknown.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    loaded = load_tasks(tasks, include_path)
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=num_fewshot if num_fewshot is not None else task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=seed)
    model = load_model(model_folder, dtype="auto", device=device)
    language_model = HFLM(pretrained=model, tokenizer=load_tokenizer(model_folder), batch_size=batch_size)
    with _bars_only_in_a_terminal():
        results = evaluate(
            language_model,
            loaded,
            limit=limit,
            bootstrap_iters=BOOTSTRAP_DRAWS,
            log_samples=False,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
        )
    return {name: score for task, metrics in results["results"].items() for name, score in _scores(task, metrics).items()}


def load_tasks(tasks: Sequence[str], include_path: Path | None) -> dict[str, Any]:
    """Tasks and their data, as the harness loads them; see `run_tasks`.

    Raises:
        SftdivError: A task is unknown.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(include_path) if include_path else None, include_defaults=include_path is None)
    _check_known(tasks, manager.all_tasks, include_path)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with _bars_only_in_a_terminal():
        loaded: dict[str, Any] = manager.load(list(tasks))
    return loaded


def score_names(tasks: Sequence[str], loaded: Mapping[str, Any]) -> dict[str, bool | None]:
    """The scores that loaded tasks will give, and whether more of each is better (None where the task does not say).

    A group's own are known once it is scored: its name and a dot stand for them.
    """
    names = {
        _name(name, metric, each.name): task.higher_is_better().get(metric)
        for name, task in loaded["tasks"].items()
        for metric in task.aggregation()
        for each in task._filters
    }
    return names | {f"{group}.": None for group in tasks if group not in loaded["tasks"]}


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
            scores[_name(task, metric, kind)] = Score(float(value), float(stderr) if isinstance(stderr, (int, float)) else float("nan"))
    return scores


def _check_known(tasks: Sequence[str], known: Sequence[str], include_path: Path | None) -> None:
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            where = f"{include_path} has: {', '.join(known) or 'none'}." if include_path else "`lm-eval ls tasks` lists all."
            raise SftdivError(f"eval.tasks names {task!r}, which is unknown.{hint} {where}")


def _bars_only_in_a_terminal() -> contextlib.AbstractContextManager[Any]:
    """The harness draws bars on stderr and cannot be told not to; elsewhere than in a terminal they would fill the log."""
    return contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
