"""The data files that a path, a glob or a folder names, and those beside them that are passed over.

Hidden files, and files that describe a data set, are not data. Of a folder that ``datasets.save_to_disk``
wrote only the listed files are (a cache may lie beside them). What else is passed over is named in one
warning.
"""

from __future__ import annotations

import glob
import json
import logging
from functools import lru_cache
from pathlib import Path

from sftdiv.data.row_parsing import KINDS, kind_of_file
from sftdiv.records import SftdivError
from sftdiv.storage.escaping import escape_controls, listed
from sftdiv.storage.folders import user_path
from sftdiv.storage.validate import did_you_mean

log = logging.getLogger(__name__)
METADATA = frozenset(
    {
        *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),  # datasets, LLaMA-Factory
        *("lineage.json", "rejected.jsonl", "failures.jsonl"),  # written beside our own exports and corpora
    }
)
_DOCUMENTS = frozenset({".md", ".py", ".yaml", ".yml", ".toml", ".lock", ".html", ".png", ".svg", ".sh", ".ipynb"})


def data_files(pattern: str) -> list[Path]:
    """Files that a path, a folder or a glob names.

    Raises:
        SftdivError: If there is none, or a file that is named is of an unknown kind.
    """
    path = user_path(pattern, name="corpus.path")
    if path.is_dir():
        files = _files_below(path)
    elif path.is_file():
        files = [path]
    else:
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
        files = [file for name in names if (file := Path(name)).is_file() and file.name not in METADATA]
    if not files:
        beside = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise SftdivError(
            f"corpus.path={pattern!r} matches no file.{did_you_mean(path.name, beside)} It may be a file, a folder "
            f"or a glob of {KINDS}."
        )
    if unknown := [file for file in files if kind_of_file(file) is None]:
        raise SftdivError(f"corpus.path: {unknown[0]} is of an unknown kind. Known: {KINDS}.")
    return files


def _files_below(folder: Path) -> list[Path]:
    files, passed_over = [], []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or path.name in METADATA or not path.is_file():
            continue
        if kind_of_file(path) is not None and _is_listed(path):
            files.append(path)
        elif path.suffix.lower() not in _DOCUMENTS and path.stem.upper() not in (
            "README",
            "LICENSE",
            "LICENCE",
            "NOTICE",
        ):
            passed_over.append(str(relative))
    if passed_over and files:
        _warn(str(folder), listed(passed_over), len(passed_over))
    return files


def _is_listed(path: Path) -> bool:
    """Whether a file is data of its folder: all are, unless a ``state.json`` of ``save_to_disk`` lists others."""
    names = _saved_files(path.parent)
    return names is None or path.suffix.lower() != ".arrow" or path.name in names


@lru_cache(maxsize=256)
def _saved_files(folder: Path) -> frozenset[str] | None:
    """Names of the data files that a ``state.json`` of ``save_to_disk`` lists; None without one."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = frozenset(str(file["filename"]) for file in state["_data_files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if state.get("_indices_data_files"):
        raise SftdivError(
            f"{folder}/state.json: the data set is a selection of its rows; save it after flatten_indices()"
        )
    return names


@lru_cache(maxsize=256)  # once per process: a sweep asks for the files of every cell
def _warn(folder: str, names: str, count: int) -> None:
    log.warning(
        "corpus.path=%s: %d files are not read: %s. Read are %s",
        *(escape_controls(folder), count, escape_controls(names), KINDS),
    )
