"""Reads the log of an offline W&B run (``run-ID.wandb``) without W&B's servers: names, config, history, summary.

The file is a log in LevelDB's framing (github.com/google/leveldb, ``doc/log_format.md``) after a header of 7 bytes; its
records are ``wandb.proto.wandb_internal_pb2.Record``. W&B has no public reader of this format, so a new version of it
is an error here. The log of a killed run ends anywhere: its complete records are read, and ``exit_code`` is None.
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
FULL, LAST = 1, 4  # kinds of chunk that end a record; 2 and 3 begin and continue a record, 0 is padding


@dataclass
class OfflineRun:
    """Content of one log.

    Attributes:
        path: The log.
        id: Id of the run.
        project: W&B's project.
        entity: W&B's user or team.
        group: Name of the study.
        name: Name of the cell.
        job_type: Kind of run.
        tags: Words to filter by.
        config: Nested settings.
        history: One mapping per logged step.
        summary: Final values.
        artifacts: Type of each artifact, by name.
        exit_code: None where the run was killed.
    """

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
        """Whether ``wandb sync`` has sent the run, by the marker that it leaves beside the log."""
        return self.path.with_suffix(".wandb.synced").exists()


def read_runs(folder: Path) -> list[OfflineRun]:
    """The offline runs of a study, oldest first.

    Args:
        folder: The study's folder, which holds ``wandb/``.
    """
    logs = folder.glob("wandb/offline-run-*/*.wandb")
    return [read_run(path) for path in sorted(logs, key=lambda path: path.parent.name)]


def read_run(path: Path) -> OfflineRun:
    """Read one log.

    Raises:
        SftdivError: The file is not a W&B log, or a complete record in it is damaged.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # stubs by protobuf version

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
    """Set the value of every item. A nested key is a path; a path of one name is that name, which may hold dots."""
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
    """The complete records of a log; an unfinished one at its end is left out.

    Raises:
        SftdivError: The header or a checksum is wrong.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise SftdivError(f"{path} is no W&B log: it begins with {data[:HEADER]!r}, not {MAGIC!r}")
    position, record = HEADER, b""
    while position + CHUNK.size <= len(data):
        rest_of_block = BLOCK - position % BLOCK
        if rest_of_block < CHUNK.size:  # no chunk begins so near the end of a block
            position += rest_of_block
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
