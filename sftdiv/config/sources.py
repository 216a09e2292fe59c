"""Python data as settings of a corpus, and positions of selected examples in that data."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.from_python import is_hub_id, run_request
from sftdiv.protocols import Reader
from sftdiv.records import SftdivError
from sftdiv.storage.files import finite, local_path, write_atomically
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import content_hash, file_digest

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    Data: TypeAlias = datasets.Dataset | pd.DataFrame | Sequence[Mapping[str, Any]] | str | Path


def source_settings(data: Data, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings ``corpus`` and ``corpus.path`` that read some data.

    Args:
        data: A path, glob or Hub id, or data in memory, which is first written to the cache folder.
        settings: Other settings of the call by their dotted names.

    Raises:
        SftdivError: The data has an unsupported type, or is empty.
    """
    if isinstance(data, (str, Path)):
        path = str(data)
        is_local = local_path(path) is not None or any(mark in path for mark in "*?[")
        return {"corpus": "hub" if not is_local and is_hub_id(path) else "files", "corpus.path": path}
    return {"corpus": "files", "corpus.path": str(_write(data, _cache_folder(settings)))}


def _cache_folder(settings: Mapping[str, Any]) -> Path:
    cache = Path(settings["paths.cache"]) if "paths.cache" in settings else run_request({}).paths.cache
    return user_path(cache, name="paths.cache").absolute() / "api"


def _write(data: Any, folder: Path) -> Path:
    """Write data in memory to a file named by its content."""
    if not hasattr(data, "__len__") or not len(data):
        raise SftdivError("the data is empty or not a sequence of examples; at least one example is needed")
    if callable(to_parquet := getattr(data, "to_parquet", None)):  # a datasets.Dataset or a pandas frame
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".data-", suffix=".parquet", delete=False) as stream:
            temporary = Path(stream.name)
        to_parquet(str(temporary))
        path = folder / file_digest(temporary)[:16] / "data.parquet"
        path.parent.mkdir(exist_ok=True)
        return temporary.replace(path)
    if isinstance(data, Mapping) or not all(isinstance(row, Mapping) for row in data):
        kind = type(data).__name__
        split = f"; choose one of its splits: {', '.join(map(repr, data))}" if kind == "DatasetDict" else ""
        raise SftdivError(
            f"data of type {kind} is not supported{split}; use a datasets.Dataset, a list of dicts, a pandas frame, "
            "or a path, glob or Hub id"
        )
    lines = "".join(f"{json.dumps(finite(dict(row)), ensure_ascii=False, default=_json_value)}\n" for row in data)
    path = folder / hashlib.blake2b(lines.encode(), digest_size=8).hexdigest() / "data.jsonl"
    if not path.exists():
        write_atomically(path, lines)
    return path


def _json_value(value: Any) -> Any:
    """A value that JSON does not know: NumPy's numbers and arrays as plain ones, else its text."""
    return finite(value.tolist()) if isinstance(value, (np.generic, np.ndarray)) else str(value)


def positions_of(reader: Reader, conversations: Iterable[Any]) -> NDArray[np.int64]:
    """Position of each conversation in a reader's data: that of the first row with the same messages.

    Args:
        reader: Reader of the data; rejected rows count as positions too.
        conversations: Messages of examples of the reader.

    Returns:
        Positions, shape (conversations,).
    """
    rows: dict[str, int] = {}
    rejected = 0

    def count(*_: Any) -> None:
        nonlocal rejected
        rejected += 1

    for number, example in enumerate(reader.examples(count)):
        rows.setdefault(content_hash(example.messages, length=32), number + rejected)
    return np.array([rows[content_hash(messages, length=32)] for messages in conversations], dtype=np.int64)
