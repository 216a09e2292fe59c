"""The artifact store: expensive intermediate results, built once and kept under a name that their content decides.

In: a kind, a key (JSON) that holds everything the result depends on, and a function that writes the
result into an empty folder. Out: the folder. Processes that ask at once wait for one builder (a
file lock). The folder is built under a temporary name and renamed; its manifest, written last,
holds a checksum of each file, so that a damaged or half-written entry is rebuilt and never used.
The trade: checksums are read back once a process and entry (about 1 GB a second) and buy that no
silent damage enters a study.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash, file_digest

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


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
