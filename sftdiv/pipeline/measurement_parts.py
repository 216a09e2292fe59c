"""Inputs and cached parts of a measurement.

`cached_part` measures a part once and reads it from the cache afterwards. `texts_of` and `vectors_of` give
the texts and embeddings of a side, or of both sides joined. Texts are read when they are accessed, so that a
corpus need not fit in memory as Python strings.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sftdiv
from sftdiv.diversity.profile.joined import joined_vectors
from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.records import SIDES, Side
from sftdiv.storage.files import finite, write_atomically
from sftdiv.text.column_texts import ColumnTexts

BOTH = "both"
PART = "part.json"
Vectors = NDArray[np.float32]


def cached_part(
    artifacts: CorpusArtifacts, name: str, key: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """One part of a measurement, cached.

    Args:
        artifacts: Artifacts of the corpus.
        name: Name of the part.
        key: Settings that the part depends on, beside the corpus.
        measure: Computes the part.

    Returns:
        The part with its measuring time in ``seconds``.
    """

    def build(folder: Path) -> None:
        started = time.perf_counter()
        numbers = measure()
        text = json.dumps(finite(numbers | {"seconds": time.perf_counter() - started}), ensure_ascii=False)
        write_atomically(folder / PART, text)

    full_key = {
        "layout": LAYOUT,
        "sftdiv": sftdiv.__version__,
        "corpus": artifacts.corpus.fingerprint,
        "part": name,
        **key,
    }
    path = artifacts.store.folder("measured", full_key, build) / PART
    part: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return part


def texts_of(artifacts: CorpusArtifacts, side: str) -> ColumnTexts:
    """Texts of a side, or of both sides joined; read on access."""
    data = artifacts.corpus.table.data
    return ColumnTexts(*(data.column(name) for name in (SIDES if side == BOTH else (side,))))


def vectors_of(artifacts: CorpusArtifacts, side: str) -> Vectors | None:
    """Embeddings of a side; None without an embedder.

    The cosine of two joined vectors (both sides) is the mean of the cosines of the sides.
    """
    if not artifacts.embeds:
        return None
    if side == BOTH:
        return joined_vectors(*(artifacts.embeddings(name) for name in SIDES))
    return artifacts.embeddings(side_by_name(side))


def side_by_name(side: str) -> Side:
    """A side by its name."""
    return "instruction" if side == "instruction" else "response"
