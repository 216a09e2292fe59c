"""Records as files: how units, token ids and ladders lie in the artifact store. Arrays as npy or npz, names as JSON; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from sftdiv.records import Embeddings, Ladder, TokenIds, Units


def save_token_ids(tokens: TokenIds, folder: Path) -> None:
    """Write token ids; ``flat.npy`` can be memory-mapped."""
    np.save(folder / "flat.npy", tokens.flat)
    np.save(folder / "offsets.npy", tokens.offsets)
    (folder / "names.json").write_text(json.dumps(list(tokens.names)), encoding="utf-8")


def load_token_ids(folder: Path) -> TokenIds:
    """Read token ids, the long array memory-mapped."""
    names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return TokenIds(np.load(folder / "flat.npy", mmap_mode="r"), np.load(folder / "offsets.npy"), names)


def save_units(units: Units, folder: Path) -> None:
    """Write a unit matrix, its types' names and how it was made."""
    scipy.sparse.save_npz(folder / "matrix.npz", units.matrix, compressed=False)
    (folder / "names.json").write_text(json.dumps(list(units.names)), encoding="utf-8")
    for name, value in (("made_by", units.made_by), ("record", units.record)):
        (folder / f"{name}.json").write_text(json.dumps(dict(value), ensure_ascii=False), encoding="utf-8")


def load_units(folder: Path) -> Units:
    """Read what ``save_units`` wrote."""
    names, made_by, record = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("names", "made_by", "record")
    )
    return Units(scipy.sparse.csr_array(scipy.sparse.load_npz(folder / "matrix.npz")), names, made_by, record)


def save_embeddings(embeddings: Embeddings, folder: Path) -> None:
    """Write vectors, which can be memory-mapped, and how they were made."""
    np.save(folder / "embeddings.npy", embeddings.vectors)
    (folder / "made_by.json").write_text(json.dumps(dict(embeddings.made_by)), encoding="utf-8")


def load_embeddings(folder: Path) -> Embeddings:
    """Read what ``save_embeddings`` wrote, the vectors memory-mapped."""
    made_by = json.loads((folder / "made_by.json").read_text(encoding="utf-8"))
    return Embeddings(np.load(folder / "embeddings.npy", mmap_mode="r"), made_by)


def save_ladders(ladders: Sequence[Ladder], folder: Path) -> None:
    """Write the ladders of all strata into one file."""
    arrays: dict[str, Any] = {f"order{i}": ladder.type_order for i, ladder in enumerate(ladders)}
    arrays |= {f"step{i}": ladder.example_step for i, ladder in enumerate(ladders)}
    np.savez(folder / "ladders.npz", **arrays)


def load_ladders(folder: Path) -> list[Ladder]:
    """Read what ``save_ladders`` wrote."""
    with np.load(folder / "ladders.npz", allow_pickle=False) as arrays:
        return [Ladder(arrays[f"order{i}"], arrays[f"step{i}"]) for i in range(len(arrays.files) // 2)]
