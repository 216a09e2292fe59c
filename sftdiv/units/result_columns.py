"""Result-row columns that describe a part of an extractor: a tagger, a normalisation step or an embedder.

They keep the names that finished studies have and include library versions. They therefore differ
from ``identity()``, which names cells and holds settings alone.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from sftdiv.storage.hashing import identity_of, library_versions


def result_columns(component: Any) -> dict[str, Any]:
    """The settings of a component and of its parts, and the versions of its ``libraries``.

    The identity's ``kind`` (or the class of a user's own component without one) becomes the column that the class
    names in ``kind_column``, or is left out.

    Args:
        component: Object with an identity (see `storage.hashing.identity_of`); optionally with ``kind_column`` and
            ``libraries``.
    """
    columns = dict(identity_of(component))
    kind = columns.pop("kind", columns.pop("class", None))
    name = getattr(component, "kind_column", None)
    if name is not None:
        columns = {name: kind, **columns}
    for field in fields(component) if is_dataclass(component) else ():
        part = getattr(component, field.name)
        if field.name in columns and (hasattr(part, "identity") or is_dataclass(part)):
            columns[field.name] = result_columns(part)
    return columns | library_versions(getattr(component, "libraries", ()))
