"""What a W&B run folder holds, read without W&B's servers: names, config, history, summary.

In: a ``run-ID.wandb`` file. Out: an ``OfflineRun``. The file is a log framed as LevelDB frames its
own (github.com/google/leveldb, ``doc/log_format.md``), after a header of 7 bytes; its records are
``wandb.proto.wandb_internal_pb2.Record``. The trade: wandb has no public reader of it, so a new
format would be an error here. A run that was killed ends anywhere: what is whole is read,
``exit_code`` is None.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError

MAGIC = b":W&B"
HEADER = 7  # bytes before the first chunk; they count into the first block
BLOCK = 32 << 10  # bytes
CHUNK = struct.Struct("<IHB")  # checksum, length, kind
FULL, LAST = 1, 4  # kinds of chunk that end a record; 2 and 3 begin and continue one, 0 is padding


@dataclass
class OfflineRun:
    """One run as its log tells it; ``history`` has one mapping a logged step, ``artifacts`` names with their types."""

    path: Path
    id: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    name: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def synced(self) -> bool:
        """Whether ``wandb sync`` has sent it (it then leaves a marker beside the log)."""
        return self.path.with_suffix(".wandb.synced").exists()


def read_runs(folder: Path) -> list[OfflineRun]:
    """The offline runs of a study, oldest first; ``folder`` is the study's, and holds ``wandb/``."""
    return [
        read_run(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    ]


def read_run(path: Path) -> OfflineRun:
    """Read one log.

    Raises:
        SftdivError: If the file is not a W&B log, or a whole record in it is damaged.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # its stub hides behind the protobuf version

    run = OfflineRun(path)
    for data in _records(path.read_bytes(), path):
        record = Record.FromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                _take_run(run, record.run)
            case "config":
                _update(run.config, record.config.update)
            case "history":
                run.history.append(_update({}, record.history.item))
            case "summary":
                _update(run.summary, record.summary.update)
                for item in record.summary.remove:
                    run.summary.pop(item.key, None)
            case "artifact":
                run.artifacts[record.artifact.name] = record.artifact.type
            case "exit":
                run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def _take_run(run: OfflineRun, record: Any) -> None:
    run.id, run.project, run.entity = record.run_id, record.project, record.entity
    run.group, run.name, run.job_type = record.run_group, record.display_name, record.job_type
    run.tags = tuple(record.tags)
    _update(run.config, record.config.update)
    _update(run.summary, record.summary.update)


def _update(values: dict[str, Any], items: Iterable[Any]) -> dict[str, Any]:
    """Set each item; a nested key is a path, and a path of one name is that name (it may hold dots)."""
    for item in items:
        *parents, name = list(item.nested_key) or [item.key]
        inner: dict[str, Any] = values
        for parent in parents:
            if not isinstance(inner.get(parent), Mapping):
                inner[parent] = {}
            inner = inner[parent]
        inner[name] = json.loads(item.value_json)
    return values


def _records(data: bytes, path: Path) -> Iterator[bytes]:
    """The whole records of a log; an unfinished one at its end is left out.

    Raises:
        SftdivError: If the header or a checksum is wrong.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise SftdivError(f"{path} is no W&B log: it begins with {data[:HEADER]!r}, not {MAGIC!r}")
    position, record = HEADER, b""
    while position + CHUNK.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < CHUNK.size:  # no chunk begins so near the end of a block
            position += left
            continue
        checksum, length, kind = CHUNK.unpack_from(data, position)
        body = data[position + CHUNK.size : position + CHUNK.size + length]
        if kind == 0 or len(body) < length:
            return
        if zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
            raise SftdivError(f"{path} is damaged at byte {position:,}: a checksum is wrong")
        record += body
        position += CHUNK.size + length
        if kind in (FULL, LAST):
            yield record
            record = b""
