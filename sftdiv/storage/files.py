"""Atomic writes: a file is written under a temporary name in the same folder, flushed to disk, then renamed.

A reader sees the old content or the new one, never a part. JSON is written without NaN and infinity, which
few JSON readers accept.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def writing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary file in the same folder that replaces ``path`` when the block ends; for content written in parts.

    The temporary file is hidden and has its own suffix, so that no reader takes it for data. It is removed if the
    block raises.

    Args:
        path: Destination; an existing file is replaced. Missing parent folders are created.
        durable: Whether the content is flushed to disk before the file gets its name; else a loss of power, unlike that
            of the process, may leave an empty file.

    Yields:
        Path of the temporary file, empty at first.

    Raises:
        OSError: If the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:40]}."
    )  # a name may be as long as the system takes
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def folder_or_temporary(folder: Path | None) -> Iterator[Path]:
    """The folder, or a temporary one that is deleted when the block ends."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sftdiv-") as temporary:
        yield Path(temporary)


def local_path(text: str | Path) -> Path | None:
    """The file or folder that a text names on this machine; None for any other text, such as a hub id."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown user, a null character
        return None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes atomically, creating the parent folders; see `writing`.

    Args:
        path: Destination; an existing file is replaced.
        content: The whole content.

    Raises:
        OSError: If the folder cannot be written.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def finite(value: Any) -> Any:
    """A JSON-like value with NaN and infinity, at any depth, replaced by None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON, atomically; NaN and infinity become null."""
    write_atomically(path, json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n")
