"""Mesoscopic units: a few tags per example, from a tagger or from a column of the data, normalised.

Raw tags are a cached artifact of their own (``tagging.raw``), so that a change of the normalisation
does not repeat the tagging; equal texts are tagged once. In the matrix, examples x final tags, each
tag counts once per example. The record holds the map from raw to final tags, which can be edited
and passed as ``tag_map``, and the effect of each normalisation step. An example whose tags were all
dropped has no unit and is never drawn; ``made_by`` counts these examples.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.protocols import CorpusSide, Tagger
from sftdiv.records import SftdivError, Units
from sftdiv.storage.hashing import content_hash, identity_of, libraries_of, library_versions
from sftdiv.text.column_texts import ChosenTexts
from sftdiv.text.string_columns import distinct_in_order
from sftdiv.units.result_columns import result_columns
from sftdiv.units.tagging.merging import counts_of, incidence, renamed
from sftdiv.units.tagging.normalise import Normaliser, apply_map
from sftdiv.units.tagging.raw import build_raw_tags, load_raw_tags
from sftdiv.units.tagging.tag_map import TagMap, load_tag_map

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TagUnits:
    """Extracts the tags that a tagger gives to texts.

    Attributes:
        tagger: Tags the distinct texts.
        normaliser: Steps that turn raw tags into final ones.
        tag_map: File that maps raw tags to final ones (see ``tagging.tag_map``); it replaces the
            normaliser.
    """

    tagger: Tagger
    normaliser: Normaliser
    tag_map: str | None

    def identity(self) -> dict[str, Any]:
        """The tagger, and the normaliser or the content of the map."""
        naming = naming_identity(self.normaliser, read_tag_map(self.tag_map))
        return {"kind": "tags", "tagger": identity_of(self.tagger), **naming}

    def extract(self, side: CorpusSide) -> Units:
        """The tags of every example; equal texts have equal tags.

        Raises:
            SftdivError: If the tagger fails, or the map cannot be read or lists none of the tags.
        """
        tag_map = read_tag_map(self.tag_map)
        first, row = distinct_in_order(side.texts)
        distinct = ChosenTexts(side.texts, first)
        key = {"tagger": identity_of(self.tagger), "versions": library_versions(libraries_of(self.tagger))}
        folder = side.keep("raw_tags", key, partial(build_raw_tags, self.tagger, distinct, side.compute or LOCAL))
        raw = load_raw_tags(folder)
        made_by = {"tagger": result_columns(self.tagger)}
        return final_units(
            raw.tags, row, self.normaliser, tag_map, made_by=made_by, record={"tagger": dict(raw.record)}
        )


@dataclass(frozen=True, kw_only=True)
class ColumnTagUnits:
    """Extracts the tags in a column of the corpus: a list of strings per row, or one string; empty strings are ignored.

    Attributes:
        column: Name of the column (it must be carried along: ``corpus.columns``).
        normaliser: Steps that turn raw tags into final ones.
        tag_map: File that maps raw tags to final ones; it replaces the normaliser.
    """

    column: str
    normaliser: Normaliser
    tag_map: str | None

    def identity(self) -> dict[str, Any]:
        """The column's name, and the normaliser or the content of the map."""
        naming = naming_identity(self.normaliser, read_tag_map(self.tag_map))
        return {"kind": "tags", "tagger": {"kind": "column", "column": self.column}, **naming}

    def extract(self, side: CorpusSide) -> Units:
        """The column's tags. Every row counts, since tags belong to the row and not to its text.

        Raises:
            SftdivError: If a value is neither a string nor a list of strings.
        """
        tag_map = read_tag_map(self.tag_map)
        tags = [self.tags(row, value) for row, value in enumerate(side.column(self.column))]
        made_by = {"tagger": {"column": self.column}}
        return final_units(tags, np.arange(len(tags)), self.normaliser, tag_map, made_by=made_by, record={})

    def tags(self, row: int, value: Any) -> list[str]:
        """The tags in one value of the column."""
        values = value if isinstance(value, list) else [value]
        if not all(tag is None or isinstance(tag, str) for tag in values):
            raise SftdivError(
                f"row {row} of column {self.column!r} holds {value!r}; tags are a string or a list of strings"
            )
        return [tag for tag in values if tag]


def final_units(
    raw: Sequence[Sequence[str]],
    row: NDArray[np.int64],
    normaliser: Normaliser,
    tag_map: TagMap | None,
    *,
    made_by: Mapping[str, Any],
    record: Mapping[str, Any],
) -> Units:
    """Units with the final tags.

    Args:
        raw: Raw tags of each text.
        row: Index in ``raw`` of each example's text, shape (examples,).
        normaliser: Steps that turn raw tags into final ones.
        tag_map: Map that replaces the normaliser; None for none.
        made_by: Columns that describe the tagger.
        record: Record of the tagging.

    Returns:
        Units whose record has ``steps``, ``tag_map`` (final tag of each raw one, None: dropped) and
        ``tag_counts`` (number of texts with each raw tag).
    """
    names, matrix = incidence(raw)
    normalised = normaliser.normalise(names, matrix) if tag_map is None else apply_map(names, matrix, tag_map)
    final, merged = renamed(matrix, list(normalised.tag_map.values()))
    by_example = scipy.sparse.csr_array(merged[row])
    untagged = int(np.count_nonzero(np.diff(by_example.indptr) == 0))
    if untagged:
        log.info("%d of %d examples have no tag", untagged, len(row))
    naming = {"normaliser": normaliser.columns()} if tag_map is None else naming_identity(normaliser, tag_map)
    numbers = {"raw_tags": len(names), "tags": len(final), "untagged": untagged}
    counts = dict(zip(names, counts_of(matrix).tolist(), strict=True))
    full_record = {**record, "steps": normalised.steps, "tag_map": normalised.tag_map, "tag_counts": counts}
    return Units(by_example, final, {"finder": "tags", **made_by, **naming, **numbers}, full_record)


def read_tag_map(path: str | None) -> TagMap | None:
    """The map in a file, or None without a path; it is read before anything is tagged."""
    return None if path is None else load_tag_map(Path(path))


def naming_identity(normaliser: Normaliser, tag_map: TagMap | None) -> dict[str, Any]:
    """The part of an identity that decides the final tags: the steps, or the content of the map."""
    return {"normaliser": identity_of(normaliser)} if tag_map is None else {"tag_map": content_hash(dict(tag_map))}
