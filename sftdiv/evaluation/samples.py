"""Results per item of an lm-eval task, as one Parquet file per task.

The harness's samples become ``TASK.parquet`` with one row per item and filter. Columns: ``item`` (its
number), ``item_hash`` (of its content; rows of two models are paired by it), ``filter``, ``target``,
``response`` and ``answer`` (generated text, and what the filter extracted), ``log_likelihoods`` (of
the choices), ``metric.NAME`` for each numeric metric, and ``other``: metric values that are no single
number, as JSON.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

METRIC = "metric."


def write_samples(samples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the samples of one task atomically; the module docstring lists the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_sample_row(sample) for sample in samples]
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
