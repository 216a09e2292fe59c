"""Where an exported subset came from, and whether its files are still what was written.

In: what was chosen and from what, as flat values. Out: a record in ``lineage.json``, one for each
export in the folder, with the SHA-256 of its data file, so that ``sha256sum`` can check it too. The
trade: the ids of all examples are in it, about 30 bytes each, because with them and the corpus the
subset can be put together again without this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from sftdiv.records import SftdivError
from sftdiv.release.export.write_export import LOCK
from sftdiv.storage.files import write_atomically

LINEAGE = "lineage.json"
LICENCE = "The examples keep the licences of the sources they come from (see sources); sftdiv claims no right in them."


def lineage(
    ids: Sequence[str],
    *,
    files: Mapping[str, str],
    format: str,
    sources: Mapping[str, int],
    corpus: str,
    corpus_fingerprint: str,
    corpus_counts: Mapping[str, int],
    config_hash: str,
    strategy: str,
    side: str,
    level: float,
    size: int | str,
    seed: int,
    selection_seed: int,
    ladder: Mapping[str, int],
    tokenizer: Mapping[str, Any],
    versions: Mapping[str, str],
    created: str,
    licence: str = LICENCE,
) -> dict[str, Any]:
    """The record of one export.

    Args:
        ids: Of the examples, in the order drawn, which is that of the file.
        files: SHA-256 of each data file by its name; see `sha256`.
        format: Of the export.
        sources: Examples from each source.
        corpus: What the corpus is called.
        corpus_fingerprint: Of its content.
        corpus_counts: Rows read, rejected, dropped as duplicates, and so on.
        config_hash: Of the settings.
        strategy: That chose the examples.
        side: That it looked at.
        level: Diversity level, 0 to 1.
        size: Examples asked for.
        seed: Of the draw.
        selection_seed: Of the ladder's ties.
        ladder: ``k_min, k_max, k_asked, k_reached, pool, universe``.
        tokenizer: Identity of the tokenizer that tokens were counted with.
        versions: Of sftdiv and the libraries that the result depends on.
        created: When, as ISO 8601 in UTC.
        licence: What to say of rights.
    """
    return {
        "format": format,
        "created": created,
        "examples": len(ids),
        "files": dict(files),
        "selection": {
            "strategy": strategy,
            "side": side,
            "level": level,
            "size": size,
            "seed": seed,
            "selection_seed": selection_seed,
        },
        "ladder": dict(ladder),
        "corpus": {"name": corpus, "fingerprint": corpus_fingerprint, "counts": dict(corpus_counts)},
        "config_hash": config_hash,
        "tokenizer": dict(tokenizer),
        "versions": dict(versions),
        "sources": dict(sources),
        "licence": licence,
        "ids": list(ids),
    }


def write_lineage(folder: Path, name: str, record: Mapping[str, Any]) -> Path:
    """Put the record of the export ``name`` into the folder's ``lineage.json``, beside those of other exports.

    Raises:
        SftdivError: If a ``lineage.json`` is there and cannot be read.
    """
    path = folder / LINEAGE
    with FileLock(folder / LOCK):
        records = _read(path) if path.exists() else {}
        write_atomically(path, json.dumps(records | {name: dict(record)}, indent=1, ensure_ascii=False) + "\n")
    return path


def verify_export(folder: Path) -> list[Path]:
    """Check the files of every export in a folder against their SHA-256.

    Returns:
        The files, all of them whole.

    Raises:
        SftdivError: If there is no readable ``lineage.json``, or a file is missing or not what was written.
    """
    path = folder / LINEAGE
    if not path.exists():
        raise SftdivError(f"{folder} holds no {LINEAGE}: it is not the folder of an export")
    expected = {folder / file: digest for record in _read(path).values() for file, digest in record["files"].items()}
    wrong = [f"{file.name} is missing" for file in expected if not file.exists()]
    wrong += [
        f"{file.name} has changed" for file, digest in expected.items() if file.exists() and sha256(file) != digest
    ]
    if wrong:
        raise SftdivError(f"the export in {folder} is not what was written: {', '.join(wrong)}. Export it again.")
    return list(expected)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise SftdivError(f"{path} cannot be read ({error}): remove it, or export into another folder") from error
