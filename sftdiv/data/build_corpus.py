"""From a reader's examples to a `Corpus` in the artifact store: distinct, in canonical order, split, fingerprinted, memory-mapped.

In: a reader, in whatever order it gives its examples. Out: an Arrow file that is the same for the
same content, beside its counts and ``rejected.jsonl``. The trade: rows go to the disk and back
(`spill`) before they are written in order, so that what is in memory while the corpus is built is a
64th of its texts and, of each row, its hash, label, id, source and group; afterwards it is only
mapped.
"""

from __future__ import annotations

import json
import logging
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
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
from sftdiv.storage.hashing import content_hash

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
LAYOUT = 1  # of the artifact: raised when this folder's code would make another corpus of the same rows
DATA, ABOUT, REJECTED = "corpus.arrow", "corpus.json", "rejected.jsonl"
_BATCH = 10_000
_LONG = 50_000  # rows after which reading shows its progress
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
    """The corpus that ``reader`` reads, built once and then mapped from the store.

    Args:
        reader: where the examples come from.
        store: where the corpus is kept.
        heldout: examples that never enter selection (at most; see `heldout`).
        seed: of the held-out split.
        on_bad_row: ``error`` or ``skip``.
        dedup: ``exact`` keeps one of all conversations that are equal, ``none`` keeps each with an
            id of its own, ``near`` keeps of what ``exact`` leaves the first of each group of near
            duplicates, in canonical order.
        near: what counts as a near duplicate, for ``near``.

    Raises:
        SftdivError: on an unknown ``dedup``, a bad row (with ``error``), carried columns of mixed
            types, or when no example is left.
    """
    import datasets

    if dedup not in DEDUPS:
        raise SftdivError(f"corpus.dedup={dedup!r} is unknown. Known: {', '.join(DEDUPS)}.")
    if dedup == "near" and near is None:
        raise SftdivError(
            "corpus.dedup=near needs its settings (corpus.near): threshold and what else `NearDuplicateFinder` has."
        )
    datasets.disable_progress_bars()  # a filter or a write that takes milliseconds needs no bar
    finder = near if dedup == "near" else None
    settings: dict[str, Any] = {"heldout": heldout, "seed": seed, "on_bad_row": on_bad_row, "dedup": dedup}
    key = {"layout": LAYOUT, "reader": dict(reader.identity()), **settings, "near": finder and asdict(finder)}
    folder = store.folder("corpus", key, lambda folder: _build(reader, folder, **settings, near=finder))
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return Corpus(datasets.Dataset.from_file(str(folder / DATA)), about["fingerprint"], about["counts"])


def rejected_file(corpus: Corpus) -> Path | None:
    """The ``rejected.jsonl`` of a corpus, or None when no row was rejected."""
    path = Path(corpus.table.cache_files[0]["filename"]).with_name(REJECTED)
    return path if path.exists() else None


def normalise(instruction: str) -> str:
    """What two instructions must share to be one: their words, whatever the case, the spacing and the Unicode form."""
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
    with tempfile.TemporaryDirectory(dir=folder, prefix=".spill-") as name, _one_type_a_column():
        spill = Spill(Path(name))
        _gather(reader.examples(rejections), spill)
        rejected = rejections.counts["rejected"]
        if not spill.rows:
            raise SftdivError(f"The corpus has no example: {rejected} rows were read and all of them rejected.")
        kept = canonical_order(spill, distinct=dedup != "none")
        duplicates = {"duplicates": spill.rows - len(kept)}
        if near is not None:
            first = near.find(rows_in_order(spill, kept, SIDES)).keepers()
            duplicates["near_duplicates"] = int((~first).sum())
            kept = kept.filter(pa.array(first))
        groups = kept.column("group").to_pylist()
        mask = held_out(groups, kept.column("source").to_pylist(), count=heldout, seed=seed)
        _write(_finished(spill, kept, mask), folder / DATA)
    counts = {
        "read": spill.rows + rejected,
        **rejections.counts,
        **duplicates,
        "examples": len(kept),
        "groups": len(set(groups)),
        "heldout": int(mask.sum()),
    }
    (folder / ABOUT).write_text(
        json.dumps({"fingerprint": fingerprint_of(kept), "counts": counts}, indent=1), encoding="utf-8"
    )
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


@contextmanager
def _one_type_a_column() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SftdivError(f"A column of corpus.columns mixes types: {error}") from error


def _gather(examples: Iterator[Example], spill: Spill) -> None:
    """Put all examples aside; columns are those of the corpus, and ``hash`` and ``label`` (see `_row`)."""
    columns = ("reading", SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    console = Console(stderr=True)
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = shown.add_task("", total=None)
    with ExitStack() as stack:
        while batch := list(islice(examples, _BATCH)):
            spill.add(_table([_row(example) for example in batch]))
            shown.advance(task, len(batch))
            if spill.rows == _LONG:
                stack.enter_context(shown)


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
        "group": _group(instruction),
        **example.extra,
    }


@lru_cache(maxsize=20_000)  # one instruction often has many answers: pool-117k repeats 805 of them 41,334 times
def _group(instruction: str) -> str:
    return content_hash(normalise(instruction))


def _said(example: Example, role: str) -> str:
    return "\n\n".join(message["content"] for message in example.messages if message["role"] == role)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as Arrow; texts in the types with 64-bit offsets, because a take of more than 2 GB overflows the others."""
    import pyarrow as pa

    text = pa.large_string()
    types = {
        "instruction": text,
        "response": text,
        "messages": pa.large_list(pa.struct({"role": pa.string(), "content": text})),
    }
    return pa.table({name: pa.array([row[name] for row in rows], type=types.get(name)) for name in rows[0]})


def _finished(spill: Spill, kept: pa.Table, heldout: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The corpus itself, a part at a time: with ids that are each row's alone, and the held-out mask."""
    import pyarrow as pa

    ids = iter(unique_ids(kept.column("hash").to_pylist(), kept.column("id").to_pylist()))
    held = iter(heldout)
    for table in rows_in_order(spill, kept):
        place, rows = table.schema.get_field_index("id"), len(table)
        table = table.set_column(place, "id", pa.array(islice(ids, rows), type=pa.string(), size=rows))
        yield table.drop_columns(["hash", "label"]).append_column(
            "heldout", pa.array(islice(held, rows), type=pa.bool_(), size=rows)
        )


def _write(tables: Iterator[pa.Table], path: Path) -> None:
    """One Arrow file of batches of equal size, however the tables are cut."""
    import pyarrow as pa

    waiting = next(tables)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, waiting.schema) as writer:
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= _BATCH:
                writer.write_table(waiting.slice(0, _BATCH).combine_chunks())
                waiting = waiting.slice(_BATCH)
        writer.write_table(waiting.combine_chunks())
