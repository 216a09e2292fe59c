"""Writes the bundle of a study: ``report/``, static pages from the figure down to single examples.

``index.html`` is the report; its points and names link to ``cells/CELL.html`` (scores, answers, verdicts and subset of
a cell), and ``answers.html`` has the answers of all cells beside each other. Everything is read from the folders of the
cells. A file that a cell lacks, or that changed since it was written, leaves its section empty.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sftdiv.evaluation.judge.comparisons import ANNOTATIONS
from sftdiv.reporting.bundle.bundle_contents import ANSWERS, CELLS, CellContents
from sftdiv.reporting.bundle.bundle_pages import render_answers, render_cell
from sftdiv.storage.cell import RESULT, cell_file
from sftdiv.storage.file_digests import DamagedFileError
from sftdiv.storage.files import write_atomically
from sftdiv.storage.progress_bar import progress_bar

log = logging.getLogger(__name__)
BUNDLE = Path("report/index.html")
EXAMPLES = 100  # examples of a subset that a page shows


def write_bundle(study: Path, out: Path, *, cells: pd.DataFrame, report: str) -> Path:
    """Write the pages of a study into ``out/report``.

    The index is written last; pages of cells that no longer exist are removed.

    Args:
        study: Folder of the study.
        out: Folder of the report.
        cells: The finished cells, as in ``Study.cells``.
        report: HTML of the report, with links to the pages of the cells.

    Returns:
        Path of ``index.html``.
    """
    folder = (out / BUNDLE).parent
    rows = cells.sort_values("cell", kind="stable").to_dict("records")
    contents = [read_contents(study / str(row["cell"]), row) for row in rows]
    untrained = {
        str(answer["id"]): str(answer["response"])
        for cell in contents
        if cell.row["kind"] == "base"
        for answer in cell.answers
    }
    from_page = quote(os.path.relpath(study, folder / CELLS).replace(os.sep, "/"))
    with progress_bar("pages of cells", len(contents)) as advance:
        for before, cell, after in zip([None, *contents], contents, [*contents[1:], None], strict=False):
            page = render_cell(
                cell,
                study=study.name,
                row_file=f"{from_page}/{quote(cell.name, safe='')}/{RESULT}",
                untrained=untrained,
                before=before.name if before else None,
                after=after.name if after else None,
            )
            write_atomically(folder / CELLS / f"{cell.name}.html", page)
            advance()
    for stale in {*(folder / CELLS).glob("*.html")} - {folder / CELLS / f"{cell.name}.html" for cell in contents}:
        stale.unlink()
    write_atomically(folder / ANSWERS, render_answers(contents, study=study.name))
    write_atomically(out / BUNDLE, report)
    return out / BUNDLE


def read_contents(cell: Path, row: Mapping[Any, Any]) -> CellContents:
    """What the bundle shows of a finished cell, from its folder and its row of ``Study.cells``."""
    return CellContents(
        name=cell.name,
        row=row,
        examples=_read(cell, "subset.parquet", _examples),
        answers=_read(cell, "samples.jsonl", _lines),
        verdicts=_read(cell, f"evaluation/judge/{ANNOTATIONS}", lambda path: json.loads(path.read_text("utf-8"))),
    )


def _read(cell: Path, name: str, read: Callable[[Path], Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    try:
        path = cell_file(cell, name)
    except DamagedFileError as error:
        log.warning("%s", error)
        return ()
    return read(path) if path.exists() else ()


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as stream:  # texts hold U+2028 and other line breaks as they are
        return [json.loads(line) for line in stream]


def _examples(path: Path) -> list[dict[str, Any]]:
    """At most ``EXAMPLES`` rows of a subset, spread over the sources by their shares."""
    table = pq.read_table(path, columns=["id", "source", "instruction", "response"], memory_map=True)
    by_source = np.argsort(table["source"].combine_chunks().dictionary_encode().indices.to_numpy(), kind="stable")
    spread = np.linspace(0, len(by_source) - 1, min(EXAMPLES, len(by_source))).astype(int)
    return table.take(by_source[spread]).to_pylist()
