"""The artifact store: expensive intermediate results, built once and kept under a name that their content decides.

In: a kind, a key (JSON) that holds everything the result depends on, and a function that writes the result into an empty folder.
Out: the folder. Processes that ask at once wait for one builder (a file lock). The folder is built under a temporary name and renamed;
its manifest, written last, holds a checksum of each file, so that a damaged or half-written entry is rebuilt and never used.
The trade: checksums are read back once a process and entry (about 1 GB a second) and buy that no silent damage enters a study.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
WHOLE_BELOW = 64 << 20  # bytes; of a larger weight file the size and both ends are hashed


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
    return content_hash({path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()})


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= WHOLE_BELOW:
        return file_digest(path)
    with path.open("rb") as stream:
        head = stream.read(1 << 20)
        stream.seek(-(1 << 20), 2)
        return content_hash([size, head.hex(), stream.read().hex()])


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name in the same folder, flush it to the disk, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)  # mkstemp makes it private
    Path(name).replace(path)


class Store:
    """A folder of artifacts; see the module's text."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        self._verified: set[Path] = set()

    def place(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Where artifact ``kind`` for ``key`` is, or will be once it is built."""
        return self.root / kind / content_hash(key)

    def partial(self, kind: str, key: Mapping[str, Any]) -> Path:
        """A folder for what a build of that artifact has done so far: it outlives a killed build, and goes once the artifact is whole."""
        place = Path(f"{self.place(kind, key)}.partial")
        place.mkdir(parents=True, exist_ok=True)
        return place

    def folder(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """The folder of artifact ``kind`` for ``key``; when it is not there whole, ``build(temporary_folder)`` fills it first."""
        entry = self.place(kind, key)
        if self._whole(entry):
            return entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            if not self._whole(entry):
                self._build(kind, key, entry, build)
        return entry

    def _build(self, kind: str, key: Mapping[str, Any], entry: Path, build: Callable[[Path], None]) -> None:
        log.info("building %s %s", kind, entry.name)
        temporary = Path(f"{entry}.building")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        build(temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        checksums = {path.relative_to(temporary).as_posix(): file_digest(path) for path in files}
        write_atomically(temporary / MANIFEST, json.dumps({"kind": kind, "key": key, "files": checksums}, indent=1))
        shutil.rmtree(entry, ignore_errors=True)
        temporary.replace(entry)
        shutil.rmtree(f"{entry}.partial", ignore_errors=True)
        self._verified.add(entry)

    def _whole(self, entry: Path) -> bool:
        """Whether the entry's manifest is there and every file in it still has its checksum."""
        if entry in self._verified:
            return True
        try:
            files = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))["files"]
            whole = all(file_digest(entry / name) == digest for name, digest in files.items())
        except FileNotFoundError:
            whole = False
        except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
            log.warning("the manifest of %s is damaged", entry)
            whole = False
        if whole:
            self._verified.add(entry)
        elif entry.exists():
            log.warning("%s is damaged or half-written and is built again", entry)
        return whole
