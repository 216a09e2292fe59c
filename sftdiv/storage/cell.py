"""A cell: the folder of one run, named by what decides its result, and its state files.

``result.json`` is one flat row, written last: its presence means that the run is finished. It ends with the
digests of the cell's files and of itself, so that damage is found when a cell is read; `MADE_BY` lists
the recorded ones. ``failure.json`` records a failure, ``.running.json`` the current stage. The same
specification gives the same folder on every machine, so that a repeated command finds its earlier results;
see `config.spec.RunSpec.cell`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import (
    DamagedFileError,
    changed_files,
    file_record,
    read_sealed,
    records_of,
    write_sealed,
)
from sftdiv.storage.files import write_json
from sftdiv.storage.folders import check_names
from sftdiv.storage.redaction import redacted

log = logging.getLogger(__name__)
RESULT, FAILURE, RUNNING = "result.json", "failure.json", ".running.json"
SUBSET = "subset.parquet"
DAMAGED_RESULT = ".result.damaged.json"  # what a run replaces, to look at
FILE_DIGEST = "digest."  # prefix of the columns of ``result.json`` that hold the digests of files
MADE_BY = {  # the recorded files and folders of a cell, and what makes them
    "config.yaml": "the run",
    "rejected.jsonl": "reading the corpus",
    SUBSET: "the selection",
    "tag_map.csv": "the selection",
    "preview.txt": "the training",
    "model": "the training",
    "evaluation": "the evaluation",
    "samples.jsonl": "generating samples",
}
WHOLE_OF_MANY = 64 << 20  # bytes; where many cells are read, only the size of larger files is compared
WHOLE_OF_ONE = 1 << 30  # the same for the one cell of a run: at most about a second per file


@dataclass(frozen=True)
class Cell:
    """The folder of one run.

    Attributes:
        study: Name of the study.
        name: Name of the cell and of its folder.
        folder: Its folder.
        hash: Digest of the settings that the cells of one ladder share and their names omit.
    """

    study: str
    name: str
    folder: Path
    hash: str

    def result(self, *, whole_below: int = WHOLE_OF_MANY, needed: Sequence[str] = ()) -> dict[str, Any] | None:
        """The result row; None until the run is finished, and, with a warning, where a file of the cell is damaged.

        Args:
            whole_below: Size in bytes from which only the size of a file is compared. Weights are compared whole
                when they are loaded.
            needed: Files that the command reads; one of them that was removed is damage.
        """
        try:
            return checked_row(self.folder, whole_below, needed)
        except DamagedFileError as error:
            if str(error) not in _warned:
                _warned.add(str(error))
                log.warning("%s", error)
            return None


_warned: set[str] = set()


def is_finished(folder: Path) -> bool:
    """Whether a cell has a row and none of its files is damaged; a warning names a damaged one."""
    return Cell("", folder.name, folder, "").result() is not None


def write_result(folder: Path, row: Mapping[str, Any]) -> None:
    """Write ``result.json``: the row, the digest of each recorded file of the cell, and its own digest."""
    names = [
        path.relative_to(folder).as_posix()
        for name in MADE_BY
        for path in (sorted((folder / name).rglob("*")) if (folder / name).is_dir() else [folder / name])
        if path.is_file() and path.suffix != ".lock"
    ]
    digests = {f"{FILE_DIGEST}{name}": digest for name, digest in records_of(folder, names).items()}
    write_sealed(folder / RESULT, {**row, **digests})


def read_row(path: Path) -> dict[str, Any]:
    """The row in a ``result.json``, without the digests.

    Raises:
        DamagedFileError: It is no row, or changed since it was written.
    """
    row, _ = _read_result(path)
    return row


def cell_file(folder: Path, name: str) -> Path:
    """Path of a file of a cell, compared with the digest in the cell's row, if there are both.

    Args:
        folder: Folder of a cell.
        name: Path in the folder.

    Raises:
        DamagedFileError: The file, or the row, changed since it was written.
    """
    path = folder / name
    if (folder / RESULT).exists():
        _, digests = _read_result(folder / RESULT)
        if name in digests and path.exists() and file_record(path) != digests[name]:
            raise DamagedFileError(_damage(folder, name))
    return path


def undamaged(path: Path) -> Path:
    """The path of any file; one that lies in a finished cell is compared with its digest, as in `cell_file`."""
    for folder in path.absolute().parents:
        if (folder / RESULT).is_file():
            cell_file(folder, path.absolute().relative_to(folder).as_posix())
            break
    return path


def _read_result(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The row and the digests of the files in a ``result.json``."""
    columns = read_sealed(path, way_out="the command of its cell writes it again")
    digests = {key.removeprefix(FILE_DIGEST): columns[key] for key in columns if key.startswith(FILE_DIGEST)}
    return {key: value for key, value in columns.items() if not key.startswith(FILE_DIGEST)}, digests


def checked_row(folder: Path, whole_below: int = WHOLE_OF_MANY, needed: Sequence[str] = ()) -> dict[str, Any] | None:
    """The row of a cell; None without one. Files that were removed are no damage: models are, to free space.

    Args:
        folder: Folder of the cell.
        whole_below: As for `Cell.result`.
        needed: As for `Cell.result`.

    Raises:
        DamagedFileError: The row, or a file that it records, changed since it was written, or a needed one is gone.
    """
    if not (folder / RESULT).exists():
        return None
    row, digests = _read_result(folder / RESULT)
    if gone := [name for name in needed if name in digests and not (folder / name).exists()]:
        raise DamagedFileError("; ".join(_damage(folder, name, "is missing") for name in gone))
    present = {name: digest for name, digest in digests.items() if (folder / name).exists()}
    if changed := changed_files(folder, present, whole_below=whole_below):
        raise DamagedFileError("; ".join(_damage(folder, name) for name in changed))
    return row


def _damage(folder: Path, name: str, fault: str = "is damaged: it changed since it was written") -> str:
    maker = MADE_BY.get(name.partition("/")[0], "the run")
    return f"{folder / name} {fault}; the cell's command repeats {maker}"


def check_cell_name(name: str) -> None:
    """Refuse a name of a cell that is no plain name of a folder: it stands in paths, pages and commands.

    Raises:
        SftdivError: With the settings that names are made of.
    """
    if not re.fullmatch(r"\w[\w.+=@,-]*", name):
        raise SftdivError(
            f"the cell would be named {name!r}: strategy.name, strategy.side and model.name may hold letters, digits "
            "and _ . + = @ , - only"
        )
    check_names("the cell's name, made of strategy.name, model.name and others", Path(name))


def write_failure(folder: Path, stage: str, message: str, trace: str = "") -> None:
    """Write ``failure.json``, without what may be a secret, and remove the mark that the cell is running."""
    write_sealed(folder / FAILURE, {"stage": stage, "message": redacted(message), "traceback": redacted(trace)})
    (folder / RUNNING).unlink(missing_ok=True)


def read_failure(folder: Path) -> dict[str, Any]:
    """Stage and message of a failed cell; a damaged ``failure.json`` gives the stage ``unknown`` and says so."""
    try:
        failure = read_sealed(folder / FAILURE, way_out="log.txt may tell more")
    except DamagedFileError as error:
        return {"stage": "unknown", "message": str(error)}
    return {"stage": str(failure.get("stage")), "message": str(failure.get("message"))}


def mark_running(folder: Path, stage: str, process: int) -> None:
    """Record the stage that a cell is in."""
    write_json(folder / RUNNING, {"stage": stage, "pid": process})


def stage_of(folder: Path) -> str | None:
    """Current stage of a running cell, or last stage of a killed one; None otherwise."""
    try:
        return str(json.loads((folder / RUNNING).read_bytes())["stage"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # damaged; it only tells how far the cell came
        return "unknown"


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings flattened to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
