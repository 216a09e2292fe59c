"""What a survey asks of the artifacts: parts that are measured once and kept, and the texts and vectors of a side, or of both as one.

In: the artifacts of one corpus. Out: plain mappings from the store, sequences of texts of which
none is held, and vectors.
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
from sftdiv.diversity.profile.texts import ColumnTexts
from sftdiv.pipeline.artifacts import Artifacts
from sftdiv.records import SIDES, Side
from sftdiv.storage.files import finite, write_atomically

BOTH = "both"
PART = "part.json"
Vectors = NDArray[np.float32]


def kept_part(
    artifacts: Artifacts, name: str, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """A part from the store, made first where it is not there; ``seconds`` says how long making it took."""

    def build(folder: Path) -> None:
        started = time.perf_counter()
        made = make()
        text = json.dumps(finite(made | {"seconds": time.perf_counter() - started}), ensure_ascii=False)
        write_atomically(folder / PART, text)

    whole = {
        "layout": LAYOUT,
        "sftdiv": sftdiv.__version__,
        "corpus": artifacts.corpus.fingerprint,
        "part": name,
        **key,
    }
    kept: dict[str, Any] = json.loads(
        (artifacts.store.folder("measured", whole, build) / PART).read_text(encoding="utf-8")
    )
    return kept


def texts_of(artifacts: Artifacts, side: str) -> ColumnTexts:
    """The texts of a side, read as they are asked for."""
    data = artifacts.corpus.table.data
    return ColumnTexts(*(data.column(name) for name in (SIDES if side == BOTH else (side,))))


def vectors_of(artifacts: Artifacts, side: str) -> Vectors | None:
    """The embeddings of a side, or None where there is no embedder; of both sides, such that cosines are the mean of the two."""
    if not artifacts.embeds:
        return None
    if side == BOTH:
        return joined_vectors(*(artifacts.embeddings(one) for one in SIDES))
    return artifacts.embeddings(one_side(side))


def one_side(side: str) -> Side:
    """A side by its name."""
    return "instruction" if side == "instruction" else "response"
