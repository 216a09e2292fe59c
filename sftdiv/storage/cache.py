"""Artifact cache: expensive intermediate results, built once and stored under a hash of their key.

A caller passes a kind, a key (JSON) with everything the result depends on, and a function that writes
the result into an empty folder; it receives the path of the finished folder. A file lock lets one
process build while the others wait. The folder is built under a temporary name and renamed. Its
manifest, written last, holds a checksum of each file and of itself, so that a damaged or incomplete entry is rebuilt
and never used. Checksums are verified once per process and entry, at about 1 GB/s; in return, no
silently damaged file enters a study.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from sftdiv.storage.file_digests import DamagedFileError, read_sealed, write_sealed
from sftdiv.storage.folders import disk_errors_explained
from sftdiv.storage.hashing import content_hash, file_digest

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


class Store:
    """A folder of cached artifacts; see the module's docstring."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        self._verified: set[Path] = set()

    def entry_path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Path of an artifact, whether or not it is built."""
        return self.root / kind / content_hash(key)

    def partial(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Folder for intermediate results of a build; survives a killed build and is deleted after a complete one."""
        path = Path(f"{self.entry_path(kind, key)}.partial")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def folder(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """Folder of an artifact, built first if it is missing or damaged.

        Args:
            kind: Kind of artifact, a folder name.
            key: Everything the artifact depends on; JSON.
            build: Writes the artifact into the empty folder it receives.
        """
        entry = self.entry_path(kind, key)
        if self._is_valid(entry):
            return entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            if not self._is_valid(entry):
                self._build(kind, key, entry, build)
        return entry

    def _build(self, kind: str, key: Mapping[str, Any], entry: Path, build: Callable[[Path], None]) -> None:
        log.info("building %s %s", kind, entry.name)
        temporary = Path(f"{entry}.building")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with disk_errors_explained(entry):
            build(temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        checksums = {path.relative_to(temporary).as_posix(): file_digest(path) for path in files}
        write_sealed(temporary / MANIFEST, {"kind": kind, "key": key, "files": checksums})
        shutil.rmtree(entry, ignore_errors=True)
        temporary.replace(entry)
        shutil.rmtree(f"{entry}.partial", ignore_errors=True)
        self._verified.add(entry)

    def _is_valid(self, entry: Path) -> bool:
        """Whether the entry has a manifest and every file in it has the recorded checksum."""
        if entry in self._verified:
            return True
        try:
            files = read_sealed(entry / MANIFEST, way_out="it is built again")["files"]
            valid = all(file_digest(entry / name) == digest for name, digest in files.items())
        except FileNotFoundError:
            valid = False
        except (DamagedFileError, KeyError, AttributeError, TypeError) as error:
            log.warning("the manifest of an artifact: %s", error)
            valid = False
        if valid:
            self._verified.add(entry)
        elif entry.exists():
            log.warning("%s is damaged or incomplete and is rebuilt", entry)
        return valid
