"""Builds the `Corpus` of a reader in the cache: distinct, in canonical order, split, fingerprinted, memory-mapped.

Examples arrive in any order; the same content gives the same Arrow file. Counts and ``rejected.jsonl``
stand beside it. Rows are written to disk and read back (`external_sort`) before they are written in
order, so a corpus may be larger than memory: peak memory is a 64th of the texts, plus hash, label,
id, source and group of every row. Afterwards the corpus is memory-mapped.
"""

from __future__ import annotations

import json
import logging
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sftdiv.data.bad_rows import Rejections
from sftdiv.data.canonical import canonical_order, fingerprint_of, rows_in_order, unique_ids
from sftdiv.data.dedup import NearDuplicateFinder
from sftdiv.data.external_sort import Spill
from sftdiv.data.heldout_split import held_out
from sftdiv.protocols import Reader
from sftdiv.records import SIDES, Corpus, Example, SftdivError
from sftdiv.storage.cache import Store
from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import content_hash, identity_of, libraries_of, library_versions
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
LAYOUT = 1  # of the artifact: raise it when the code of this folder makes another corpus of the same rows
DATA, ABOUT, REJECTED = "corpus.arrow", "corpus.json", "rejected.jsonl"
_BATCH = 10_000
_LONG = 50_000  # rows after which a progress bar is shown
DEDUPS = ("exact", "near", "none")


def load_corpus(
    reader: Reader,
    store: Store,
    *,
    heldout: int,
    seed: int,
    on_bad_row: str,
    dedup: str = "exact",
    near: NearDuplicateFinder | None = None,
) -> Corpus:
    """The corpus of a reader, built once and then mapped from the cache.

    Args:
        reader: Source of the examples.
        store: Cache of the corpus.
        heldout: Maximal number of held-out examples, which never enter selection; see `heldout_split`.
        seed: Seed of the held-out split.
        on_bad_row: ``error`` or ``skip``.
        dedup: ``exact`` keeps one of all equal conversations. ``near`` then also keeps only the first
            (in canonical order) of each group of near duplicates. ``none`` keeps all, each with an id of its own.
        near: Definition of near duplicates; needed for ``near``, ignored otherwise.

    Raises:
        SftdivError: If ``dedup`` is unknown, a row is bad (with ``error``), a carried column mixes types,
            or no example remains.
    """
    import datasets

    check_one_of("corpus.dedup", dedup, DEDUPS)
    if dedup == "near" and near is None:
        raise SftdivError("corpus.dedup=near needs the settings of `NearDuplicateFinder` (corpus.near), got none")
    datasets.disable_progress_bars()  # otherwise every filter of a few milliseconds shows one
    finder = near if dedup == "near" else None
    settings: dict[str, Any] = {"heldout": heldout, "seed": seed, "on_bad_row": on_bad_row, "dedup": dedup}
    key = {
        "layout": LAYOUT,
        "reader": identity_of(reader),
        **settings,
        "near": identity_of(finder),
        "libraries": library_versions(libraries_of(reader) | libraries_of(finder)),
    }
    folder = store.folder("corpus", key, lambda folder: _build(reader, folder, **settings, near=finder))
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return Corpus(datasets.Dataset.from_file(str(folder / DATA)), about["fingerprint"], about["counts"])


def rejected_file(corpus: Corpus) -> Path | None:
    """The ``rejected.jsonl`` of a corpus, or None if no row was rejected."""
    path = Path(corpus.table.cache_files[0]["filename"]).with_name(REJECTED)
    return path if path.exists() else None


def normalise(instruction: str) -> str:
    """The words of an instruction, regardless of case, spacing and Unicode form; equal results form one group."""
    return " ".join(unicodedata.normalize("NFKC", instruction).casefold().split())


def _build(
    reader: Reader,
    folder: Path,
    *,
    heldout: int,
    seed: int,
    on_bad_row: str,
    dedup: str,
    near: NearDuplicateFinder | None,
) -> None:
    import pyarrow as pa

    rejections = Rejections(folder / REJECTED, on_bad_row=on_bad_row)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".spill-") as spill_folder, _one_type_per_column():
        spill = Spill(Path(spill_folder))
        _collect(reader.examples(rejections), spill)
        rejected = rejections.counts["rejected"]
        if not spill.rows:
            raise SftdivError(f"The corpus has no example: {rejected} rows were read and all of them rejected.")
        index = canonical_order(spill, distinct=dedup != "none")
        duplicates = {"duplicates": spill.rows - len(index)}
        if near is not None:
            is_first = near.find(rows_in_order(spill, index, SIDES)).keepers()
            duplicates["near_duplicates"] = int((~is_first).sum())
            index = index.filter(pa.array(is_first))
        groups = index.column("group").to_pylist()
        mask = held_out(groups, index.column("source").to_pylist(), count=heldout, seed=seed)
        _write(_corpus_tables(spill, index, mask), folder / DATA)
    counts = {
        "read": spill.rows + rejected,
        **rejections.counts,
        **duplicates,
        "examples": len(index),
        "groups": len(set(groups)),
        "heldout": int(mask.sum()),
    }
    write_json(folder / ABOUT, {"fingerprint": fingerprint_of(index), "counts": counts})
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


@contextmanager
def _one_type_per_column() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SftdivError(f"A column of corpus.columns mixes types: {error}") from error


def _collect(examples: Iterator[Example], spill: Spill) -> None:
    """Write all examples to the spill; the columns are those of the corpus, and ``hash`` and ``label`` (see `_row`)."""
    columns = ("reading", SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task("", total=None)
    with ExitStack() as stack:
        while batch := list(islice(examples, _BATCH)):
            spill.add(_table([_row(example) for example in batch]))
            progress.advance(task, len(batch))
            if spill.rows == _LONG:
                stack.enter_context(progress)


def _row(example: Example) -> dict[str, Any]:
    """One row. ``hash`` covers the messages; ``label`` holds the rest, which orders rows of equal messages."""
    instruction, response = _text_of(example, "user"), _text_of(example, "assistant")
    return {
        "hash": content_hash(example.messages, length=32),
        "label": json.dumps([example.source, example.id, example.extra], sort_keys=True),
        "id": example.id,
        "messages": example.messages,
        "instruction": instruction,
        "response": response,
        "source": example.source,
        "group": _group(instruction),
        **example.extra,
    }


@lru_cache(maxsize=20_000)  # one instruction often has many responses: pool-117k repeats 805 of them 41,334 times
def _group(instruction: str) -> str:
    return content_hash(normalise(instruction))


def _text_of(example: Example, role: str) -> str:
    return "\n\n".join(message["content"] for message in example.messages if message["role"] == role)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as Arrow. Texts have 64-bit offsets: with 32 bits a take of more than 2 GB overflows."""
    import pyarrow as pa

    text = pa.large_string()
    types = {
        "instruction": text,
        "response": text,
        "messages": pa.large_list(pa.struct({"role": pa.string(), "content": text})),
    }
    return pa.table({name: pa.array([row[name] for row in rows], type=types.get(name)) for name in rows[0]})


def _corpus_tables(spill: Spill, index: pa.Table, heldout: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The corpus, one part at a time, with unique ids and the held-out mask."""
    import pyarrow as pa

    ids = iter(unique_ids(index.column("hash").to_pylist(), index.column("id").to_pylist()))
    mask = iter(heldout)
    for table in rows_in_order(spill, index):
        id_position, rows = table.schema.get_field_index("id"), len(table)
        table = table.set_column(id_position, "id", pa.array(islice(ids, rows), type=pa.string(), size=rows))
        yield table.drop_columns(["hash", "label"]).append_column(
            "heldout", pa.array(islice(mask, rows), type=pa.bool_(), size=rows)
        )


def _write(tables: Iterator[pa.Table], path: Path) -> None:
    """Write one Arrow file of equal batches, whatever the sizes of the tables."""
    import pyarrow as pa

    pending = next(tables)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, pending.schema) as writer:
        for table in tables:
            pending = pa.concat_tables([pending, table])
            while len(pending) >= _BATCH:
                writer.write_table(pending.slice(0, _BATCH).combine_chunks())
                pending = pending.slice(_BATCH)
        writer.write_table(pending.combine_chunks())
