"""What a model did with each item of a task, as one Parquet file a task.

In: the harness's samples. Out: ``TASK.parquet``, one row an item and filter: ``item`` (its number),
``item_hash`` (of its content, by which two models' rows are paired), ``filter``, ``target``,
``response`` and ``answer`` (what was said, and what the filter made of it), ``log_likelihoods`` (of
the choices), a column ``metric.NAME`` for each number that the item was given, and ``other``:
values of metrics that are no single number, as JSON. Written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

METRIC = "metric."


def write_samples(samples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write one task's samples; see the module's text for the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(sample) for sample in samples]
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {"item": pa.int64(), "log_likelihoods": pa.list_(pa.float64())}
    schema = pa.schema(
        [(name, kinds.get(name, pa.float64() if name.startswith(METRIC) else pa.string())) for name in names]
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    pq.write_table(table, temporary)
    temporary.replace(path)


def _row(sample: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: sample[name] for name in sample["metrics"]}
    numbers = {f"{METRIC}{name}": float(value) for name, value in values.items() if isinstance(value, int | float)}
    others = {name: value for name, value in values.items() if not isinstance(value, int | float)}
    answers = sample["filtered_resps"]
    scored = all(
        isinstance(answer, list | tuple) and len(answer) == 2 and isinstance(answer[0], float) for answer in answers
    )
    return {
        "item": int(sample["doc_id"]),
        "item_hash": str(sample["doc_hash"]),
        "filter": str(sample["filter"]),
        "target": _text(sample["target"]),
        "response": None if scored else _text(sample["resps"][0][0]),
        "answer": None if scored else _text(answers[0]),
        "log_likelihoods": [float(answer[0]) for answer in answers] if scored else None,
        **numbers,
        "other": json.dumps(others, default=_plain) if others else None,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as Python's; anything else in words."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
