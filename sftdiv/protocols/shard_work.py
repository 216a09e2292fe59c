"""Work on a corpus that is cut into shards: what is computed of one (`ShardStep`), and where (`ShardExecutor`).

A stage describes its per-row work as a step, passes it to the executor of the config group ``compute``, and merges the
files that come back in the order of the shards. The merged result never depends on the executor or on the number of
its processes, so that nothing here has an ``identity``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class ShardStep(Protocol):
    """Computes one shard at a time. It is pickled: it holds settings and paths, and opens files when it is used.

    Attributes:
        name: Name in logs and of folders.
        uses_all_cores: Whether one shard already occupies all cores or devices of a machine.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  # described above
    @property
    def uses_all_cores(self) -> bool: ...  # noqa: D102

    def write(self, shard: int, path: Path) -> None:
        """Compute a shard into the file ``path``, which is renamed into its place afterwards.

        Further files may be written beside it before, each atomically: a lost process and its successor may be at work
        on one shard at the same time.

        Args:
            shard: Number of the shard.
            path: Temporary file in the folder of the step.
        """
        ...


class ShardExecutor(Protocol):
    """Runs a step over shards, in this process or in others (``conf/compute``)."""

    def run(self, step: ShardStep, shards: int, folder: Path) -> list[Path]:
        """Compute the shards that are not in the folder yet.

        Args:
            step: The work on a shard.
            shards: Number of shards.
            folder: Folder of the shards' files. Files of an interrupted call with the same step are kept.

        Returns:
            The file of each shard, in the order of the shards.

        Raises:
            SftdivError: A shard raised it.
            UnfinishedShardsError: A process was lost; the same call computes the missing shards.
        """
        ...
