"""Hashes that name content: of JSON values, of files, of folders of weights.

All digests are BLAKE2b in hexadecimal. The trade: of a file over 64 MiB only the size and both ends are hashed, so that the identity of a
model folder takes no minutes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

WHOLE_BELOW = 64 << 20  # bytes; larger files are identified by their size and both ends


def content_hash(value: Any, *, length: int = 16) -> str:
    """Hex digest of a JSON-serialisable value; equal values, whatever the order of their keys, give equal digests."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """BLAKE2b digest of a file's bytes, read in blocks of 1 MiB."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def folder_identity(folder: Path) -> str:
    """A digest of a folder's files that takes no minutes for weights: of a file over 64 MiB the size and the first and last MiB count."""
    return content_hash(
        {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    )


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= WHOLE_BELOW:
        return file_digest(path)
    with path.open("rb") as stream:
        head = stream.read(1 << 20)
        stream.seek(-(1 << 20), 2)
        return content_hash([size, head.hex(), stream.read().hex()])
