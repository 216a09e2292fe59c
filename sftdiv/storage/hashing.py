"""Identities of components, and digests of JSON values, files and model folders.

All digests are BLAKE2b in hexadecimal. For files over 64 MiB only the size and both ends are hashed:
a changed middle goes unnoticed, but the identity of a model folder takes seconds instead of minutes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.storage.files import local_path
from sftdiv.storage.source_code import is_foreign, source_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "source code"  # key in identities; no field of a class has a space in its name
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)  # made once: a corpus hashes every row
_BLOCK = 100_000  # numbers
WHOLE_BELOW = 64 << 20  # bytes; larger files are identified by their size and both ends


def content_hash(value: Any, *, length: int = 16) -> str:
    """Hex digest of a JSON-serialisable value; equal values, whatever the order of their keys, give equal digests."""
    return _hash_of([_JSON.encode(value)], length)


def array_hash(array: NDArray[Any], *, length: int = 16) -> str:
    """`content_hash` of an array of numbers as a list, which is encoded in blocks."""
    return _hash_of(_array_text(array), length)


def arrays_hash(arrays: Sequence[NDArray[Any]], *, length: int = 16) -> str:
    """`content_hash` of some arrays of numbers as a list of lists, which is encoded in blocks."""
    texts = (text for number, array in enumerate(arrays) for text in (", " if number else "", *_array_text(array)))
    return _hash_of(chain("[", texts, "]"), length)


def _array_text(array: NDArray[Any]) -> Iterator[str]:
    yield "["
    for start in range(0, len(array), _BLOCK):
        yield ", " if start else ""
        yield _JSON.encode(array[start : start + _BLOCK].tolist())[1:-1]
    yield "]"


def _hash_of(texts: Iterable[str], length: int) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()[:length]


def file_digest(path: Path) -> str:
    """BLAKE2b digest of a file's bytes, read in blocks of 1 MiB."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def folder_identity(folder: Path) -> str:
    """Digest of a folder's files. For files over 64 MiB it covers the size and the first and last MiB."""
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


def identity_of(value: Any) -> Any:
    """Identity of a value: the part of it that decides results, as JSON without paths, class names and import paths.

    A component with a method ``identity`` defines its own; other dataclasses are identified by `settings_identity`.
    A class from outside this package is identified by its source as well (`storage.source_code`), so that an edited
    plug-in never shows results of the code before, and, unless it gives its own ``kind``, by its import path, so that
    two classes with the same settings never share a result.

    Raises:
        TypeError: The value is neither of these nor plain JSON.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 2 and 2.0 are one setting
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(identity := getattr(value, "identity", None)):
        return _with_class(value, identity_of(identity()))
    if isinstance(value, Mapping):
        return {str(key): identity_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity_of(item) for item in value]
    if is_dataclass(value):
        return _with_class(value, settings_identity(value))
    raise TypeError(
        f"{type(value).__name__} has no identity: give it a method identity(), or use a dataclass of plain values"
    )


def _with_class(component: Any, identity: Any) -> Any:
    """The identity, with the source of a foreign class and, unless it gives a ``kind``, the import path."""
    component_class = type(component)
    if not is_foreign(component_class):
        return identity
    names_itself = "identity" in vars(component_class) and isinstance(identity, Mapping) and "kind" in identity
    class_path = f"{component_class.__module__}.{component_class.__qualname__}"
    added = ({} if names_itself else {"class": class_path}) | {SOURCE: source_digest(component_class)}
    return {**identity, **added} if isinstance(identity, Mapping) else [*added.values(), identity]


def settings_identity(component: Any) -> dict[str, Any]:
    """Fields of a dataclass that decide its result: all except those listed in its class's ``performance_only``."""
    skipped: frozenset[str] = getattr(component, "performance_only", frozenset())
    return {
        field.name: identity_of(getattr(component, field.name))
        for field in fields(component)
        if field.name not in skipped
    }


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution, for artifact keys (identities hold no versions)."""
    return {name: version(name) for name in sorted(set(names))}


def libraries_of(component: Any) -> set[str]:
    """Distributions that a component's result depends on: its ``libraries``, and those of components in its fields."""
    libraries = set(getattr(component, "libraries", ()))
    if is_dataclass(component) and not isinstance(component, type):
        for field in fields(component):
            libraries |= libraries_of(getattr(component, field.name))
    return libraries


def path_identity(path: str | Path) -> str:
    """Digest of a local file or folder; any other text (a Hub id) unchanged."""
    local = local_path(path)
    if local is None:
        return str(path)
    return folder_identity(local) if local.is_dir() else file_digest(local)
