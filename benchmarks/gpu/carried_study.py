"""Reads what `prepare.py` has written for the study: cells, rows of their subsets, held-out rows and evaluators."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

CELLS, ROWS, HELDOUT, OOD = "cells.jsonl", "rows.parquet", "heldout.parquet", "ood.parquet"
EVALUATORS = "evaluators.json"
FOLDER = "@FOLDER@"  # in task files: the folder that they lie in
REHEARSED_CELLS, REHEARSED_ROWS = 4, 48


class CarriedStudy:
    """The files of `prepare.py`: rows, held-out rows, cells and evaluators."""

    def __init__(self, folder: Path, *, rehearsed: bool) -> None:
        self.folder, self.rehearsed = folder, rehearsed

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        """Lines of ``cells.jsonl``."""
        lines = (self.folder / CELLS).read_text(encoding="utf-8").splitlines()
        cells = [json.loads(line) for line in lines]
        return cells[:REHEARSED_CELLS] if self.rehearsed else cells

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of all subsets: ``id``, ``messages``, ``group``."""
        return self._read(ROWS)

    def examples(self, name: str) -> Any:
        """The held-out rows, or those of sources that are never trained on."""
        from sftdiv.records import Heldout

        rows = self._read(name)[: REHEARSED_ROWS if self.rehearsed else None]
        return Heldout(*([row[key] for row in rows] for key in ("messages", "source", "group")))

    def _read(self, name: str) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        return list(pq.read_table(self.folder / name).to_pylist())

    @cached_property
    def evaluators(self) -> dict[str, Any]:
        """Evaluators by name; paths of their task files are relative to this folder."""
        from sftdiv.config.instantiate import make

        made = {}
        for name, node in json.loads((self.folder / EVALUATORS).read_text(encoding="utf-8")).items():
            if node.get("include_path"):
                node["include_path"] = str(self.folder.resolve() / node["include_path"])
                _set_folder(Path(node["include_path"]))
            if self.rehearsed and "limit" in node:
                node["limit"] = 1
            made[name] = make(node)
        return made


def _set_folder(tasks: Path) -> None:
    """Replace the mark in task files by the folder that they lie in; each process finds the same content."""
    for path in tasks.rglob("*.y*ml"):
        text = path.read_text(encoding="utf-8")
        if FOLDER in text:
            write_atomically(path, text.replace(FOLDER, str(tasks)))
