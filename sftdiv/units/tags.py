"""Mesoscopic units: a few tags an example, from a tagger of texts or from a column of the data, normalised.

In: one side of a corpus. Out: examples x final tags, each tag that an example holds counted once.
Raw tags are an artifact of their own (``tagging.raw``), so that changing the normalisation tags
nothing again; equal texts are tagged once. The record holds the map from raw to final tags, which
can be edited and given back, and what each step of the normalisation changed. The trade: an example
whose tags were all dropped holds no unit and is never drawn; the record and ``made_by`` count them.
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

from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError, Units
from sftdiv.storage.hashing import content_hash
from sftdiv.units.tagging.merging import counts_of, incidence, renamed
from sftdiv.units.tagging.normalise import Normaliser, apply_map
from sftdiv.units.tagging.raw import Tagger, build_raw_tags, load_raw_tags
from sftdiv.units.tagging.tag_map import TagMap, load_tag_map

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TagUnits:
    """Tags that a tagger gives to texts.

    Attributes:
        tagger: Who tags (any dataclass with ``tag`` and ``identity``).
        normaliser: The steps that turn raw tags into final ones.
        tag_map: A file that maps them instead (see ``tagging.tag_map``); then no step is learnt.
    """

    tagger: Tagger
    normaliser: Normaliser
    tag_map: str | None

    def identity(self) -> dict[str, Any]:
        """What decides the units."""
        return {"tagger": dict(self.tagger.identity()), **naming_identity(self.normaliser, given_map(self.tag_map))}

    def extract(self, side: CorpusSide) -> Units:
        """The tags of every example; equal texts hold equal tags."""
        given, identity = given_map(self.tag_map), dict(self.tagger.identity())
        distinct, row = np.unique(np.array(side.texts, dtype=object), return_inverse=True)
        raw = load_raw_tags(
            side.keep("raw_tags", {"tagger": identity}, partial(build_raw_tags, self.tagger, distinct.tolist()))
        )
        return final_units(
            raw.tags, row, self.normaliser, given, made_by={"tagger": identity}, record={"tagger": dict(raw.record)}
        )


@dataclass(frozen=True, kw_only=True)
class ColumnTagUnits:
    """The tags that a column of the corpus holds: a list of strings a row, or one string; an empty one is no tag.

    Attributes:
        column: Name of the column (it must be carried along: ``corpus.columns``).
        normaliser: The steps that turn raw tags into final ones.
        tag_map: A file that maps them instead.
    """

    column: str
    normaliser: Normaliser
    tag_map: str | None

    def identity(self) -> dict[str, Any]:
        """What decides the units, beside the corpus, which holds the column."""
        return {"tagger": {"column": self.column}, **naming_identity(self.normaliser, given_map(self.tag_map))}

    def extract(self, side: CorpusSide) -> Units:
        """The column's tags; here every row counts, since the tags are the row's and not the text's.

        Raises:
            SftdivError: If a value is neither text nor a list of texts.
        """
        given = given_map(self.tag_map)
        tags = [self.tags(row, value) for row, value in enumerate(side.column(self.column))]
        return final_units(
            tags, np.arange(len(tags)), self.normaliser, given, made_by={"tagger": {"column": self.column}}, record={}
        )

    def tags(self, row: int, value: Any) -> list[str]:
        """The tags in one value."""
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
    given: TagMap | None,
    *,
    made_by: Mapping[str, Any],
    record: Mapping[str, Any],
) -> Units:
    """Units of examples, example ``i`` holding the final tags of ``raw[row[i]]``.

    The record has ``steps``, ``tag_map`` (final tag of each raw one, None: dropped) and
    ``tag_counts`` (texts that hold each raw tag).
    """
    names, held = incidence(raw)
    done = normaliser.normalise(names, held) if given is None else apply_map(names, held, given)
    final, merged = renamed(held, list(done.tag_map.values()))
    matrix = scipy.sparse.csr_array(merged[row])
    untagged = int(np.count_nonzero(np.diff(matrix.indptr) == 0))
    if untagged:
        log.info("%d of %d examples hold no tag", untagged, len(row))
    numbers = {"raw_tags": len(names), "tags": len(final), "untagged": untagged}
    counts = dict(zip(names, counts_of(held).tolist(), strict=True))
    kept = {**record, "steps": done.steps, "tag_map": done.tag_map, "tag_counts": counts}
    return Units(matrix, final, {"finder": "tags", **made_by, **naming_identity(normaliser, given), **numbers}, kept)


def given_map(path: str | None) -> TagMap | None:
    """The map of a file, where one is given; read before anything is tagged."""
    return None if path is None else load_tag_map(Path(path))


def naming_identity(normaliser: Normaliser, given: TagMap | None) -> dict[str, Any]:
    """What decides the final tags of given raw ones: the steps, or the content of the map."""
    return {"normaliser": normaliser.identity()} if given is None else {"tag_map": content_hash(dict(given))}
