"""Records as files of the artifact cache: arrays as npy or npz, names and metadata as JSON, no pickles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.sparse

from sftdiv.records import Embeddings, TokenIds, Units


def save_token_ids(tokens: TokenIds, folder: Path) -> None:
    """Write token ids; ``flat.npy`` can be memory-mapped."""
    np.save(folder / "flat.npy", tokens.flat)
    np.save(folder / "offsets.npy", tokens.offsets)
    (folder / "names.json").write_text(json.dumps(list(tokens.names)), encoding="utf-8")


def load_token_ids(folder: Path) -> TokenIds:
    """Read token ids; ``flat`` is memory-mapped."""
    names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return TokenIds(np.load(folder / "flat.npy", mmap_mode="r"), np.load(folder / "offsets.npy"), names)


def save_units(units: Units, folder: Path) -> None:
    """Write a unit matrix, the names of its types and its provenance."""
    scipy.sparse.save_npz(folder / "matrix.npz", units.matrix, compressed=False)
    (folder / "names.json").write_text(json.dumps(list(units.names)), encoding="utf-8")
    for name, value in (("made_by", units.made_by), ("record", units.record)):
        (folder / f"{name}.json").write_text(json.dumps(dict(value), ensure_ascii=False), encoding="utf-8")


def load_units(folder: Path) -> Units:
    """Read the files of `save_units`."""
    names, made_by, record = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("names", "made_by", "record")
    )
    return Units(scipy.sparse.csr_array(scipy.sparse.load_npz(folder / "matrix.npz")), names, made_by, record)


def save_embeddings(embeddings: Embeddings, folder: Path) -> None:
    """Write embeddings, which can be memory-mapped, and their metadata."""
    np.save(folder / "embeddings.npy", embeddings.vectors)
    (folder / "made_by.json").write_text(json.dumps(dict(embeddings.made_by)), encoding="utf-8")


def load_embeddings(folder: Path) -> Embeddings:
    """Read the files of `save_embeddings`; vectors are memory-mapped."""
    made_by = json.loads((folder / "made_by.json").read_text(encoding="utf-8"))
    return Embeddings(np.load(folder / "embeddings.npy", mmap_mode="r"), made_by)
