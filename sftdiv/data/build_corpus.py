"""Builds the `Corpus` of a reader in the cache: distinct, in canonical order, split, fingerprinted, memory-mapped.

Examples arrive in any order; the same content gives the same Arrow file. Counts and ``rejected.jsonl``
stand beside it. Rows are read in shards, by several processes or machines (`read_shards`), written to
disk and read back (`external_sort`) before they are written in order, so a corpus may be larger than
memory: peak memory is a 64th of the texts, plus hash, label, id, source and group of every row.
Afterwards the corpus is memory-mapped.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.compute.local_shards import LOCAL
from sftdiv.compute.shard_files import UnfinishedShardsError
from sftdiv.data.bad_rows import REJECTED, Rejections, no_example, warn_of_unread
from sftdiv.data.canonical import canonical_order, fingerprint_of
from sftdiv.data.corpus_file import write_corpus
from sftdiv.data.corpus_preview import ABOUT, FIRST, show_first
from sftdiv.data.decontamination import Contamination, Decontamination
from sftdiv.data.dedup import NearDuplicateFinder
from sftdiv.data.external_sort import Spill
from sftdiv.data.heldout_split import held_out
from sftdiv.data.item_search_shards import SEARCHED
from sftdiv.data.read_shards import read_shards
from sftdiv.data.row_shards import row_shards
from sftdiv.protocols import Reader, ShardExecutor
from sftdiv.records import SIDES, Corpus, SftdivError
from sftdiv.storage.cache import Store
from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import identity_of, libraries_of, library_versions
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sftdiv.data.semantic_dedup import SemanticDuplicateFinder

log = logging.getLogger(__name__)
LAYOUT = 2  # of the artifact: raise it when the code of this folder makes another corpus of the same rows
DATA = "corpus.arrow"
DEDUPS, BY_FINDER = ("exact", "near", "semantic", "none"), ("near", "semantic")


def load_corpus(
    reader: Reader,
    store: Store,
    *,
    heldout: int,
    seed: int,
    on_bad_row: str,
    dedup: str = "exact",
    near: NearDuplicateFinder | SemanticDuplicateFinder | None = None,
    drop: Decontamination | None = None,
    split: NearDuplicateFinder | None = None,
    ood: Sequence[str] = (),
    compute: ShardExecutor = LOCAL,
) -> Corpus:
    """The corpus of a reader, built once and then mapped from the cache.

    Args:
        reader: Source of the examples.
        store: Cache of the corpus.
        heldout: Maximal number of held-out examples, which never enter selection; see `heldout_split`.
        seed: Seed of the held-out split.
        on_bad_row: ``error`` or ``skip``.
        dedup: ``exact`` keeps one of all equal conversations. ``near`` then also keeps only the first
            (in canonical order) of each group of near duplicates, ``semantic`` one of each of similar embeddings.
            ``none`` keeps all, each with an id of its own.
        near: Definition of duplicates; needed for ``near`` and ``semantic``, ignored otherwise.
        drop: Benchmarks; examples that share text with their items are left out. None drops none.
        split: Definition of near-duplicate instructions, which then form one group (column ``group``) that no split
            divides; None for identical instructions only.
        ood: Sources whose examples are not held out, because they are never trained on.
        compute: Does the work on single rows; without effect on the result.

    Raises:
        SftdivError: ``dedup`` or ``ood`` is unknown, a row is bad (with ``error``), columns mix types, nothing remains.
    """
    import datasets

    check_one_of("corpus.dedup", dedup, DEDUPS)
    if dedup in BY_FINDER and near is None:
        raise SftdivError(f"corpus.dedup={dedup} needs the settings of a finder (corpus.{dedup}), got none")
    datasets.disable_progress_bars()  # otherwise every filter of a few milliseconds shows one
    finder = near if dedup in BY_FINDER else None
    settings: dict[str, Any] = {"heldout": heldout, "seed": seed, "on_bad_row": on_bad_row, "dedup": dedup}
    key: dict[str, Any] = {
        "layout": LAYOUT,
        "reader": identity_of(reader),
        **settings,
        "near": identity_of(finder),
        "libraries": library_versions(libraries_of(reader) | libraries_of(finder) | libraries_of(split)),
    }
    key |= {"drop": drop.identity()} if drop is not None else {}
    key |= {"split": identity_of(split)} if split is not None else {}
    key |= {"ood": sorted(set(ood))} if ood else {}
    kept = Path(f"{store.entry_path('corpus', key)}.{REJECTED}")
    unfinished = partial(store.partial, "corpus", key)
    parts: dict[str, Any] = {"near": finder, "drop": drop, "split": split, "ood": ood, "compute": compute}

    def build(folder: Path) -> None:
        with _kept_if_unfinished(unfinished()) as work:
            _build(reader, folder, kept, work, **settings, **parts)

    folder = store.folder("corpus", key, build)
    kept.unlink(missing_ok=True)
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    warn_of_unread(about["counts"])
    corpus = Corpus(datasets.Dataset.from_file(str(folder / DATA)), about["fingerprint"], about["counts"])
    show_first(corpus)
    return corpus


def rejected_file(corpus: Corpus) -> Path | None:
    """The ``rejected.jsonl`` of a corpus, or None if no row was rejected."""
    path = Path(corpus.table.cache_files[0]["filename"]).with_name(REJECTED)
    return path if path.exists() else None


def dropped_examples(corpus: Corpus) -> Contamination:
    """What was dropped from a corpus built with ``drop``; rows are those before."""
    return Contamination.load(Path(corpus.table.cache_files[0]["filename"]).parent)


def _build(
    reader: Reader,
    folder: Path,
    kept: Path,
    work: Path,
    *,
    heldout: int,
    seed: int,
    on_bad_row: str,
    dedup: str,
    near: NearDuplicateFinder | SemanticDuplicateFinder | None,
    drop: Decontamination | None,
    split: NearDuplicateFinder | None,
    ood: Sequence[str],
    compute: ShardExecutor,
) -> None:
    """Fill the folder; without any example the rejected rows are left in ``kept``. ``work`` survives a kill."""
    import pyarrow as pa

    rejections, spill = Rejections(folder / REJECTED, on_bad_row=on_bad_row), Spill()
    with _one_type_per_column():
        first, unread = read_shards(reader, work / "rows", spill, rejections, compute=compute)
        rejected = rejections.counts["rejected"]
        if not spill.rows:
            raise no_example(rejections, kept)
        index = canonical_order(spill, distinct=dedup != "none")
        duplicates = {"duplicates": spill.rows - len(index)}
        if near is not None:
            rows = row_shards(spill, index, SIDES, work / "near.arrow")
            is_kept = near.find(rows, work, compute=compute).keepers()
            index = index.filter(pa.array(is_kept))
            duplicates[f"{dedup}_duplicates"] = len(is_kept) - len(index)
        if drop is not None:
            index, duplicates["contaminated"] = _drop_contaminated(spill, index, drop, folder, work, compute)
        if split is not None:
            rows = row_shards(spill, index, SIDES, work / "split.arrow")
            first_of_group = split.find(rows, work / "split", compute=compute).group
            position = index.schema.get_field_index("group")
            index = index.set_column(position, "group", index.column("group").take(first_of_group))
        groups = index.column("group")
        mask = held_out(groups, index.column("source"), count=heldout, seed=seed, never=ood)
        write_corpus(spill, index, mask, folder / DATA)
    counts = {
        "read": spill.rows + rejected,
        **rejections.counts,
        **{f"unread.{name}": count for name, count in sorted(unread.items())},
        **duplicates,
        "examples": len(index),
        "groups": len(groups.unique()),
        "heldout": int(mask.sum()),
    }
    write_json(folder / ABOUT, {"fingerprint": fingerprint_of(index), "counts": counts, FIRST: first})
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


def _drop_contaminated(
    spill: Spill, index: pa.Table, drop: Decontamination, folder: Path, work: Path, compute: ShardExecutor
) -> tuple[pa.Table, int]:
    """The index without the examples that touch an item, and their number; the findings are saved in the folder."""
    import pyarrow as pa

    rows = row_shards(spill, index, SEARCHED, work / "searched.arrow")
    contamination = drop.find(rows, partial=work, compute=compute)
    contamination.save(folder)
    touching = contamination.touching(len(index))
    if touching.all():
        raise SftdivError(
            f"corpus.decontaminate=drop leaves none of {len(index):,} examples: all share text with "
            f"{', '.join(contamination.names)}. corpus.decontaminate=report keeps them"
        )
    return index.filter(pa.array(~touching)), int(touching.sum())


@contextmanager
def _kept_if_unfinished(work: Path) -> Iterator[Path]:
    """The folder of unfinished work, deleted after an error that the same command would repeat."""
    try:
        yield work
    except SftdivError as error:
        if not isinstance(error, UnfinishedShardsError):
            shutil.rmtree(work, ignore_errors=True)
        raise


@contextmanager
def _one_type_per_column() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SftdivError(f"A column of corpus.columns mixes types: {error}") from error
