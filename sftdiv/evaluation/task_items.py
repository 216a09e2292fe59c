"""Items of lm-eval tasks and of files as benchmarks for decontamination, and scores on the untouched ones.

A task's item is what the harness searches for itself: ``doc_to_decontamination_query`` where the task has one, else
``doc_to_text`` without few-shot examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.evaluation.judge.prompt_files import KINDS, prompt_of_row, read_rows
from sftdiv.evaluation.loading import load_tasks
from sftdiv.evaluation.samples import METRIC
from sftdiv.protocols import Benchmark
from sftdiv.records import Score, SftdivError
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import path_identity

TEXTS = ("question", "query", "problem", "text", "sentence")  # columns of files that hold no prompt
CLEAN = ".clean"


@dataclass(frozen=True, kw_only=True)
class TaskBenchmarks:
    """Tasks of the harness, or of a folder, that need not be evaluated.

    Attributes:
        tasks: Names of tasks, groups or tags.
        include_path: Folder of task files; None for the harness's own tasks.
    """

    tasks: Sequence[str]
    include_path: str | None

    def identity(self) -> dict[str, Any]:
        """Tasks, and task files by content."""
        return tasks_identity(self.tasks, self.include_path, None)

    def load(self) -> list[Benchmark]:
        """One benchmark per requested name."""
        path = self.include_path
        folder = user_path(path, name="corpus.contamination.include_path").absolute() if path else None
        return task_benchmarks(self.tasks, folder, limit=None)


@dataclass(frozen=True, kw_only=True)
class FileBenchmarks:
    """Files of items: JSON, JSON lines or Parquet, each a benchmark by the name of the file.

    A row is a prompt in a known form (`prompt_files`), or has a column of `TEXTS`.

    Attributes:
        paths: The files.
    """

    paths: Sequence[str]

    def __post_init__(self) -> None:
        if isinstance(self.paths, str):
            raise SftdivError(f"corpus.contamination.files={self.paths} must be a list: [{self.paths}]")
        stems = [Path(path).stem for path in self.paths]
        if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise SftdivError(
                f"corpus.contamination.files has several files named {', '.join(repeated)}, and columns are named by "
                "the file: rename one"
            )

    def identity(self) -> dict[str, Any]:
        """Content of the files by their names."""
        return {Path(path).stem: path_identity(path) for path in self.paths}

    def load(self) -> list[Benchmark]:
        """One benchmark per file.

        Raises:
            SftdivError: A file cannot be read, or a row has no text.
        """
        return [_file_benchmark(user_path(path, name="corpus.contamination.files")) for path in self.paths]


def _file_benchmark(path: Path) -> Benchmark:
    texts = []
    for number, row in enumerate(read_rows(path), start=1):
        column = next((name for name in TEXTS if isinstance(row.get(name), str)), None)
        if any(row.get(name) is not None for name in KINDS):
            texts.append(prompt_text(prompt_of_row(row, source=path.stem)))
        elif column is not None:
            texts.append(row[column])
        else:
            raise SftdivError(
                f"{path}, entry {number} has no text of an item in its keys {', '.join(map(str, row)) or 'none'}; "
                f"known: {', '.join((*KINDS, *TEXTS))}"
            )
    return Benchmark(path.stem, texts)


def prompt_text(prompt: Prompt) -> str:
    """The user turns of a prompt as one text."""
    opening = [text for role, text in prompt.opening if role == "user"]
    return "\n\n".join([*opening, *prompt.following])


def tasks_identity(tasks: Sequence[str], include_path: str | None, limit: int | None) -> dict[str, Any]:
    """What decides the items of tasks; task files by content."""
    path = path_identity(include_path) if include_path else None
    return {"kind": "lm_eval_items", "tasks": list(tasks), "include_path": path, "limit": limit}


def task_benchmarks(tasks: Sequence[str], include_path: Path | None, *, limit: int | None) -> list[Benchmark]:
    """Items of tasks as one benchmark per requested name, in the order of the harness's samples.

    Args:
        tasks: Names of tasks, groups or tags.
        include_path: Folder of task files; None for the harness's own tasks.
        limit: Number of items that are scored of each task; None for all.
    """
    loaded = load_tasks(tasks, include_path)
    texts: dict[str, list[str]] = {}
    parts: dict[str, list[tuple[str, int]]] = {}
    for name, task in loaded.tasks.items():
        items = [_item_text(task, doc) for doc in _scored_docs(task, limit)]
        requested = loaded.requested[name]
        texts.setdefault(requested, []).extend(items)
        parts.setdefault(requested, []).append((name, len(items)))
    return [Benchmark(name, items, parts[name]) for name, items in texts.items()]


def _scored_docs(task: Any, limit: int | None) -> Sequence[Any]:
    docs = task.eval_docs
    count = len(docs) if limit is None else min(limit, len(docs))
    return [docs[row] for row in range(count)]


def _item_text(task: Any, doc: Any) -> str:
    query = _decontamination_query(task, doc) if task.should_decontaminate() else None
    text = task.doc_to_text(doc) if query is None else query
    if isinstance(text, str):
        return text
    choices = task.doc_to_choice(doc) if isinstance(text, int) else text  # as in Winogrande: the choices are contexts
    return "\n".join(map(str, choices))


def _decontamination_query(task: Any, doc: Any) -> str | None:
    """The harness's query. It evaluates a rendered template as a Python literal, which fails on plain text (0.4.13)."""
    from lm_eval.utils import apply_template

    try:
        query = task.doc_to_decontamination_query(doc)
    except (SyntaxError, ValueError):
        query = apply_template(task.config.doc_to_decontamination_query, doc)
    return None if query is None else str(query)


def clean_task_scores(
    folder: Path, touched: Mapping[str, frozenset[int]], scores: Mapping[str, Score]
) -> dict[str, Score]:
    """Means over the untouched items of tasks and groups, with standard errors sd / sqrt(items).

    Args:
        folder: Folder of the samples, one Parquet file per task or group.
        touched: Positions of the touched items by task.
        scores: All scores; one that is not the mean over its items (such as a perplexity) has no clean value.
    """
    import pyarrow.parquet as pq

    clean: dict[str, Score] = {}
    for path in sorted(folder.glob("*.parquet")) if touched else ():
        task, table = path.stem, pq.read_table(path).to_pandas()
        table["is_touched"] = _is_touched(table, task, touched)
        if not table["is_touched"].any():
            continue
        for name, rows in table.groupby("filter"):
            is_clean = ~rows["is_touched"].to_numpy()
            for column in (column for column in rows if str(column).startswith(METRIC)):
                metric = str(column).removeprefix(METRIC)
                score = ".".join([task, metric] + [str(name)] * (name != "none"))
                values = rows[column].to_numpy(dtype=np.float64)
                if (
                    score in scores
                    and is_clean.any()
                    and math.isclose(values.mean(), scores[score].value, rel_tol=1e-9)
                ):
                    clean[score + CLEAN] = _mean(values[is_clean])
    return clean


def _is_touched(table: Any, task: str, touched: Mapping[str, frozenset[int]]) -> list[bool]:
    """Whether each row is of a touched item; the items of a group are counted over all of its tasks."""
    if "task" not in table:
        return [item in touched.get(task, ()) for item in table["item"]]
    positions = table["item"] - table.groupby("task")["item"].transform("min")
    return [item in touched.get(name, ()) for name, item in zip(table["task"], positions, strict=True)]


def _mean(values: Any) -> Score:
    count = len(values)
    return Score(float(values.mean()), float(values.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan)
