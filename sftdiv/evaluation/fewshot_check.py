"""Checks, before anything is trained, that tasks of the harness have as many few-shot examples as are requested."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sftdiv.evaluation.harness import fewshot_counts
from sftdiv.evaluation.loading import LoadedTasks, hide_progress_bars
from sftdiv.records import SftdivError

MOST_REPEATS = 1000  # copies of one document that are looked for; counting them in a large pool would take long


def check_fewshot(loaded: LoadedTasks, num_fewshot: int | Mapping[str, int] | None) -> None:
    """Refuse numbers of few-shot examples that a task cannot give.

    Args:
        loaded: Tasks.
        num_fewshot: Number for all tasks, or by requested name; None, or a missing name, for each task's own.

    Raises:
        SftdivError: With the task, the number, and how many documents there are.
    """
    for name, count in fewshot_counts(loaded, num_fewshot).items():
        if count < 0:
            raise SftdivError(f"eval.num_fewshot={count} of the task {name} must be at least 0")
        if count == 0:
            continue
        documents = _documents(name, loaded.tasks[name])
        most = _most_examples(loaded.tasks[name], documents, count)
        if count > most:
            raise SftdivError(
                f"eval.num_fewshot={count}: the task {name} has {len(documents)} documents to take examples from, "
                f"enough for {most}; lower eval.num_fewshot, or num_fewshot in the task's file"
            )


def _documents(name: str, task: Any) -> list[Any]:
    """The documents that few-shot examples are drawn from."""
    sampler = getattr(task, "sampler", None)
    try:
        with hide_progress_bars():
            return list((sampler or task).fewshot_docs() or [])
    except Exception as error:  # task files are third-party code and may raise anything
        raise SftdivError(
            f"the few-shot examples of the task {name} cannot be read: {type(error).__name__}: {error}; use "
            "eval.num_fewshot=0"
        ) from error


def _most_examples(task: Any, documents: list[Any], count: int) -> int:
    """Largest number of examples; where they come from the evaluated documents, each leaves itself out."""
    configured = getattr(task, "fewshot_cfg", None)
    if configured is not None and configured.split != task.config.test_split:
        return len(documents)
    if len(documents) > count + MOST_REPEATS:
        return len(documents) - 1
    copies = Counter(json.dumps(document, sort_keys=True, default=str) for document in documents)
    return len(documents) - max(copies.values(), default=0)
