"""The chosen subset of a finished cell in another program's format: ``export.format=messages|sharegpt|alpaca|parquet``.

In: a cell with its row and its ``subset.parquet``. Out: the exported file, its entries for
LLaMA-Factory and axolotl, and ``lineage.json``. Exporting changes no result, so it is no part of a
cell's name: a cell that is done is exported by the same command with ``export.format``.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sftdiv.release.export.lineage import lineage, sha256, write_lineage
from sftdiv.release.export.write_export import write_export
from sftdiv.storage.cell import Cell

log = logging.getLogger(__name__)


def export_cell(config: DictConfig, cell: Cell, row: dict[str, Any]) -> list[Path]:
    """Write the subset of a finished cell where ``export`` asks for it.

    Args:
        config: The composed and checked config.
        cell: A cell that is done.
        row: Its row.

    Returns:
        What was written, the data file first; nothing without ``export.format``.

    Raises:
        SftdivError: If the format cannot hold the subset.
    """
    if config.export.format is None:
        return []
    import datasets
    import pyarrow.parquet as pq

    rows = datasets.Dataset(pq.read_table(cell.folder / "subset.parquet"))
    folder = Path(config.export.folder).expanduser().absolute() if config.export.folder else cell.folder / "export"
    name = config.export.name or cell.name
    data, *entries = write_export(rows, folder, format=config.export.format, name=name)
    record = lineage(
        row | {"config.selection.seed": config.selection.seed},
        rows["id"][:],
        files={data.name: sha256(data)},
        format=config.export.format,
        sources=dict(sorted(Counter(rows["source"][:]).items())),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    written = [data, *entries, write_lineage(folder, name, record)]
    log.info("exported %s examples as %s: %s", f"{len(rows):,}", config.export.format, data)
    return written
