"""The file of each shard of a step: written under another name and renamed, so that it is complete where it exists."""

from __future__ import annotations

from pathlib import Path

from sftdiv.protocols import ShardStep
from sftdiv.records import SftdivError
from sftdiv.storage.files import writing


class UnfinishedShardsError(SftdivError):
    """Shards are missing because a process was lost; the same command computes only these."""


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard; it exists once the shard is complete."""
    return folder / f"{shard:06d}.shard"


def shard_paths(folder: Path, shards: int) -> list[Path]:
    """The files of all shards."""
    return [shard_path(folder, shard) for shard in range(shards)]


def missing_shards(folder: Path, shards: int) -> list[int]:
    """The shards that are not complete."""
    present = {path.name for path in folder.glob("*.shard")}
    return [shard for shard, path in enumerate(shard_paths(folder, shards)) if path.name not in present]


def write_shard(step: ShardStep, folder: Path, shard: int) -> bool:
    """Compute a shard unless it is complete; returns whether it was computed."""
    path = shard_path(folder, shard)
    if path.exists():
        return False
    with writing(path) as temporary:
        step.write(shard, temporary)
    return True
