"""Exports the subset of a finished cell: ``export.format=messages|sharegpt|alpaca|parquet``.

The inputs are a cell's row and its ``subset.parquet``. The outputs are the exported file, its entries for
LLaMA-Factory and axolotl, and ``lineage.json``. Exporting changes no result and is not part of a cell's
name: a finished cell is exported by the same command with ``export.format`` added.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sftdiv.config.run_request import ExportSpec
from sftdiv.records import SftdivError
from sftdiv.release.export.lineage import free_name, lineage, sha256, write_lineage
from sftdiv.release.export.write_export import write_export
from sftdiv.storage.cell import RESULT, SUBSET, Cell, cell_file
from sftdiv.text.lines import first_line

log = logging.getLogger(__name__)


def export_cell(export: ExportSpec, cell: Cell, row: Mapping[str, Any]) -> list[Path]:
    """Export the subset of a finished cell.

    Args:
        export: Format, folder and name; without a format nothing is written.
        cell: A finished cell.
        row: Its row.

    Returns:
        The files written, the data file first.

    Raises:
        SftdivError: The format cannot represent the subset, its file is damaged, or the export would replace another
            one of that name.
    """
    if export.format is None:
        return []
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = datasets.Dataset(pq.read_table(cell_file(cell.folder, SUBSET)))
    except (pa.ArrowException, OSError) as error:
        raise SftdivError(
            f"{cell.folder / SUBSET} is missing or damaged ({first_line(error)}); remove {cell.folder / RESULT}, and "
            "the cell's command writes both again"
        ) from error
    folder = export.folder or cell.folder / "export"
    ids = rows["id"][:]
    name = free_name(folder, export.name or cell.name, format=export.format, ids=ids, given=export.name is not None)
    data, *entries = write_export(rows, folder, format=export.format, name=name)
    record = lineage(
        row,
        ids,
        files={data.name: sha256(data)},
        format=export.format,
        sources=dict(sorted(Counter(rows["source"][:]).items())),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    written = [data, *entries, write_lineage(folder, name, record)]
    log.info("exported %s examples as %s: %s", f"{len(rows):,}", export.format, data)
    return written
