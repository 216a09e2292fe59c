"""From a reader's examples to a `Corpus` in the artifact store: distinct, in canonical order, split, fingerprinted, memory-mapped.

In: a reader, in whatever order it gives its examples. Out: an Arrow file that is the same for the same content, beside its counts and
``rejected.jsonl``. The trade: while it is built the corpus stands in memory twice, as Arrow (pool-117k: about 0.4 GB each), which keeps
the code to a sort and a take; afterwards it is only mapped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.corpora.heldout import held_out
from sftdiv.corpora.rejections import Rejections
from sftdiv.records import Corpus, Example, Reader, SftdivError
from sftdiv.store import Store, content_hash

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
LAYOUT = 1  # of the artifact: raised when this folder's code would make another corpus of the same rows
DATA, ABOUT, REJECTED = "corpus.arrow", "corpus.json", "rejected.jsonl"
_BATCH = 10_000


def load_corpus(reader: Reader, store: Store, *, heldout: int, seed: int, on_bad_row: str) -> Corpus:
    """The corpus that ``reader`` reads, built once and then mapped from the store.

    Args:
        reader: where the examples come from.
        store: where the corpus is kept.
        heldout: examples that never enter selection (at most; see `heldout`).
        seed: of the held-out split.
        on_bad_row: ``error`` or ``skip``.

    Raises:
        SftdivError: on a bad row (with ``error``), on carried columns of mixed types, or when no example is left.
    """
    import datasets

    datasets.disable_progress_bars()  # a filter or a write that takes milliseconds needs no bar
    settings = {"heldout": heldout, "seed": seed, "on_bad_row": on_bad_row}
    key = {"layout": LAYOUT, "reader": dict(reader.identity()), **settings}
    folder = store.folder("corpus", key, lambda folder: _build(reader, folder, heldout=heldout, seed=seed, on_bad_row=on_bad_row))
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return Corpus(datasets.Dataset.from_file(str(folder / DATA)), about["fingerprint"], about["counts"])


def rejected_file(corpus: Corpus) -> Path | None:
    """The ``rejected.jsonl`` of a corpus, or None when no row was rejected."""
    path = Path(corpus.table.cache_files[0]["filename"]).with_name(REJECTED)
    return path if path.exists() else None


def normalise(instruction: str) -> str:
    """What two instructions must share to be one: their words, whatever the case, the spacing and the Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", instruction).casefold().split())


def _build(reader: Reader, folder: Path, *, heldout: int, seed: int, on_bad_row: str) -> None:
    rejections = Rejections(folder / REJECTED, on_bad_row=on_bad_row)
    read = _gather(reader.examples(rejections))
    rejected = rejections.counts["rejected"]
    if read is None:
        raise SftdivError(f"The corpus has no example: {rejected} rows were read and all of them rejected.")
    table = _distinct(read)
    fingerprint = _fingerprint(table)
    table = _with_unique_ids(table)
    groups = table.column("group").to_pylist()
    mask = held_out(groups, table.column("source").to_pylist(), count=heldout, seed=seed)
    table = table.append_column("heldout", [mask])
    counts = {
        "read": len(read) + rejected,
        **rejections.counts,
        "duplicates": len(read) - len(table),
        "examples": len(table),
        "groups": len(set(groups)),
        "heldout": int(mask.sum()),
    }
    _write(table, folder / DATA)
    (folder / ABOUT).write_text(json.dumps({"fingerprint": fingerprint, "counts": counts}, indent=1), encoding="utf-8")
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


def _gather(examples: Iterator[Example]) -> pa.Table | None:
    """All examples, in the order read, or None when there are none; columns as in the corpus, and ``hash`` and ``label`` (see `_row`)."""
    import pyarrow as pa

    batches = []
    try:
        while batch := list(islice(examples, _BATCH)):
            batches.append(_table([_row(example) for example in batch]))
        return pa.concat_tables(batches, promote_options="permissive") if batches else None
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SftdivError(f"A column of corpus.columns mixes types: {error}") from error


def _row(example: Example) -> dict[str, Any]:
    """One row; ``hash`` is that of the messages, ``label`` holds all the rest, to tell apart and order what has the same messages."""
    instruction, response = _said(example, "user"), _said(example, "assistant")
    return {
        "hash": content_hash(example.messages, length=32),
        "label": json.dumps([example.source, example.id, example.extra], sort_keys=True),
        "id": example.id,
        "messages": example.messages,
        "instruction": instruction,
        "response": response,
        "source": example.source,
        "group": content_hash(normalise(instruction)),
        **example.extra,
    }


def _said(example: Example, role: str) -> str:
    return "\n\n".join(message["content"] for message in example.messages if message["role"] == role)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as Arrow; texts in the types with 64-bit offsets, because a take of more than 2 GB overflows the others."""
    import pyarrow as pa

    text = pa.large_string()
    types = {"instruction": text, "response": text, "messages": pa.large_list(pa.struct({"role": pa.string(), "content": text}))}
    return pa.table({name: pa.array([row[name] for row in rows], type=types.get(name)) for name in rows[0]})


def _distinct(table: pa.Table) -> pa.Table:
    """Each conversation once, ordered by hash; of exact duplicates the one with the smallest label stays, whatever the order read."""
    import pyarrow.compute as pc

    order = pc.sort_indices(table, sort_keys=[("hash", "ascending"), ("label", "ascending")]).to_numpy()
    hashes = table.column("hash").to_numpy()[order]
    first = np.concatenate([[True], hashes[1:] != hashes[:-1]])
    return table.take(order[first])


def _fingerprint(table: pa.Table) -> str:
    """Digest of all that the user's data says, row by row in canonical order."""
    digest = hashlib.blake2b(digest_size=16)
    for pair in zip(table.column("hash").to_pylist(), table.column("label").to_pylist(), strict=True):
        digest.update("\n".join(pair).encode())
    return digest.hexdigest()


def _with_unique_ids(table: pa.Table) -> pa.Table:
    """``hash`` and ``label`` go; an example without an id gets its hash, and ids that several examples share get theirs appended."""
    hashes, ids = table.column("hash").to_pylist(), table.column("id").to_pylist()
    holders = Counter(ids)
    holders[""] = 1
    unique = [(name or key) if holders[name] == 1 else f"{name}-{key[:12]}" for name, key in zip(ids, hashes, strict=True)]
    return table.set_column(table.schema.get_field_index("id"), "id", [unique]).drop_columns(["hash", "label"])


def _write(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH)
