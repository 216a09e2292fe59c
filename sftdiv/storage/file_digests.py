"""Digests of files, recorded when files are written and compared when they are read: damage is found, never used.

Two forms. A JSON file of this package ends with the digest of its own text (`write_sealed`). A folder of files, such as
a model's, holds ``.digests.json`` with size and digest of each, written last (`seal_folder`). Files from before
there were digests are read without a check.

Hashing runs at about 1 GB/s. A file that did not change since this process hashed it is not hashed again, so that the
weights of a model are read once after writing and once where another process loads them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.files import finite, write_atomically
from sftdiv.storage.hashing import file_digest

log = logging.getLogger(__name__)
DIGEST = "digest"  # last key of a sealed file
MARK = "blake2b:"  # opens a digest; one damaged byte cannot hide both this mark and the key
DIGESTS = ".digests.json"
WEIGHTS = (".safetensors", ".bin", ".pt")

_hashed: dict[tuple[int, ...], str] = {}  # device, inode, size, times of content and inode -> digest


class DamagedFileError(SftdivError):
    """A file is not as it was written."""


def sealed_text(value: Mapping[str, Any]) -> str:
    """A mapping as JSON text whose last entry is the digest of the text without it; NaN and infinity become null."""
    content = finite(value)
    digest = hashlib.blake2b(_json(content).encode(), digest_size=16).hexdigest()
    return _json({**content, DIGEST: MARK + digest}) + "\n"


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping atomically as JSON with its own digest; see `sealed_text`."""
    write_atomically(path, sealed_text(value))


def read_sealed(path: Path, *, way_out: str) -> dict[str, Any]:
    """Read a mapping that `write_sealed` wrote; one without a digest, as earlier versions wrote, is read unchecked.

    Args:
        path: An existing file.
        way_out: What a user can do if it is damaged, for the message.

    Raises:
        DamagedFileError: The file is empty, cut, no JSON, or changed since it was written.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"it is not valid JSON ({error})" if path.stat().st_size else "it is empty"
        raise DamagedFileError(f"{path} is damaged: {reason}; {way_out}") from error
    if not isinstance(value, dict):
        held = "null" if value is None else f"a {type(value).__name__}"
        raise DamagedFileError(f"{path} is damaged: it contains {held}, not a mapping of names to values; {way_out}")
    has_mark = any(isinstance(entry, str) and entry.startswith(MARK) for entry in value.values())
    if DIGEST not in value and not has_mark:
        return value
    value.pop(DIGEST, None)
    if sealed_text(value) != text:
        raise DamagedFileError(f"{path} is damaged: it changed since it was written; {way_out}")
    return value


def file_record(path: Path) -> str:
    """Size and digest of a file, as ``SIZE:DIGEST``."""
    status = path.stat()
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key not in _hashed:
        _hashed[key] = f"{status.st_size}:{file_digest(path)}"
    return _hashed[key]


def changed_files(folder: Path, records: Mapping[str, str], *, whole_below: float = float("inf")) -> list[str]:
    """Names of the files that are not as recorded, also those that are missing.

    Args:
        folder: Folder of the files.
        records: `file_record` of each file, by its path in the folder.
        whole_below: Size in bytes from which only the size of a file is compared.
    """
    return [name for name, record in records.items() if _differs(folder / name, record, whole_below)]


def place_sealed(temporary: Path, path: Path) -> None:
    """Rename a finished file, after writing its size and digest as ``NAME.digest``; for what a killed run leaves."""
    write_digest(temporary, path)
    temporary.replace(path)


def write_digest(temporary: Path, path: Path) -> None:
    """Write size and digest of a finished file that will be renamed to ``path``; see `place_sealed`."""
    write_sealed(_digest_of(path), {"file": file_record(temporary)})


def is_whole(path: Path) -> bool:
    """Whether a file exists and is as `place_sealed` left it."""
    try:
        record = read_sealed(_digest_of(path), way_out="the file is made again")
        return not _differs(path, str(record.get("file")), float("inf"))
    except FileNotFoundError:
        return False
    except DamagedFileError as error:
        log.warning("%s", error)
        return False


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.digest")


def seal_folder(folder: Path) -> None:
    """Write ``.digests.json``, with the size and digest of every other file of the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DIGESTS)
    write_sealed(folder / DIGESTS, {path.relative_to(folder).as_posix(): file_record(path) for path in paths})


def folder_damage(folder: Path, *, weights: bool = True) -> list[str]:
    """Names of the files of a folder that changed or are missing since `seal_folder`; empty without its record.

    Args:
        folder: A folder.
        weights: Whether weights are compared too, which takes about a second per GB.
    """
    path = folder / DIGESTS
    if not path.is_file():
        return []
    try:
        records = read_sealed(path, way_out="")
    except DamagedFileError:
        return [DIGESTS]
    return changed_files(folder, {name: text for name, text in records.items() if weights or not is_weights(name)})


def check_folder_files(folder: Path, *, weights: bool = True) -> None:
    """Refuse a folder with damaged files; see `folder_damage`.

    Raises:
        DamagedFileError: With the names of the files.
    """
    if names := folder_damage(folder, weights=weights):
        raise DamagedFileError(
            f"{folder} is damaged: {', '.join(names)} changed since the folder was written; the command that made it "
            f"makes it again. If the change is meant, remove {folder / DIGESTS}"
        )


def is_weights(name: str) -> bool:
    """Whether a file of a model's folder holds weights, by its name."""
    return name.endswith(WEIGHTS)


def records_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """`file_record` of files by their path in the folder."""
    return {name: file_record(folder / name) for name in names}


def _differs(path: Path, record: str, whole_below: float) -> bool:
    try:
        size = path.stat().st_size
        if size >= whole_below:
            return f"{size}:" != record[: len(f"{size}:")]
        return file_record(path) != record
    except OSError:
        return True


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
