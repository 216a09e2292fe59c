"""Results per item of lm-eval tasks, as one Parquet file per task and per group whose score is a mean over items.

The harness's samples become ``TASK.parquet`` with one row per item and filter. Columns: ``item`` (its number),
``item_hash`` (of its content; rows of two models are paired by it), ``filter``, ``target``, ``response`` and
``answer`` (generated text, and what the filter extracted), ``log_likelihoods`` (of the choices), ``metric.NAME`` for
each numeric metric, and ``other``: metric values that are no single number, as JSON. A column ``stratum`` says that
scores are means over its values of the means within them. ``GROUP.parquet`` has the items of its tasks in their
order, with ``item`` counted over all of them, ``item_hash``, ``filter``, ``task``, and the metrics that the group
weights by size.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

METRIC = "metric."
STRATUM = "stratum"


def write_samples(samples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the samples of one task atomically; the module docstring lists the columns."""
    write_rows([_sample_row(sample) for sample in samples], path)


def write_group_samples(samples: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Iterable[str], path: Path) -> None:
    """Write the samples of a group atomically, as if it were one task.

    Args:
        samples: The harness's samples by task, for all tasks of the group.
        metrics: Metrics whose score is the mean over all items.
        path: Parquet file.
    """
    columns = {f"{METRIC}{metric}" for metric in metrics} | {"item_hash", "filter"}
    rows, first = [], 0
    for task, task_samples in samples.items():
        task_rows = [_sample_row(sample) for sample in task_samples]
        for row in task_rows:
            kept = {name: value for name, value in row.items() if name in columns}
            rows.append({"item": first + row["item"], **kept, "task": task})
        first += 1 + max((row["item"] for row in task_rows), default=-1)
    write_rows(rows, path)


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write results per item atomically; the module docstring lists the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row))
    types = {"item": pa.int64(), "log_likelihoods": pa.list_(pa.float64())}
    schema = pa.schema(
        [(name, types.get(name, pa.float64() if name.startswith(METRIC) else pa.string())) for name in names]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    write_atomically(path, buffer.getvalue())


def _sample_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: sample[name] for name in sample["metrics"]}
    numbers = {f"{METRIC}{name}": float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    others = {name: value for name, value in metrics.items() if not isinstance(value, int | float)}
    answers = sample["filtered_resps"]
    has_likelihoods = all(
        isinstance(answer, list | tuple) and len(answer) == 2 and isinstance(answer[0], float) for answer in answers
    )
    return {
        "item": int(sample["doc_id"]),
        "item_hash": str(sample["doc_hash"]),
        "filter": str(sample["filter"]),
        "target": _as_text(sample["target"]),
        "response": None if has_likelihoods else _as_text(sample["resps"][0][0]),
        "answer": None if has_likelihoods else _as_text(answers[0]),
        "log_likelihoods": [float(answer[0]) for answer in answers] if has_likelihoods else None,
        **numbers,
        "other": json.dumps(others, default=_as_json) if others else None,
    }


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_as_json)


def _as_json(value: Any) -> Any:
    """Numpy numbers and arrays as Python's; anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
