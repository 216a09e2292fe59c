"""Where a rewritten corpus came from: ``provenance.json``, written last, so that its presence says that the corpus is whole.

In: what was asked and what came of it, as flat values. Out: one JSON file, and on a rerun whether
what it tells of is still there and as it is asked for now. The trade: the digests of the shards are
taken again on a rerun, about 1 GB a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sftdiv
from sftdiv.data.regenerate.shards import SHARDS
from sftdiv.records import Corpus
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import file_digest

PROVENANCE = "provenance.json"
LAYOUT = 1  # raised when this package would ask or write otherwise with the same settings


def write_provenance(
    folder: Path,
    *,
    corpus: Corpus,
    corpus_settings: Mapping[str, Any],
    rewriter: Mapping[str, Any],
    models: Sequence[str],
    form: Mapping[str, Any],
    made: Mapping[str, Any],
    asked: Mapping[str, Any],
    command: Sequence[str],
) -> dict[str, Any]:
    """Write the record and give it back.

    Args:
        folder: Where to.
        corpus: The original.
        corpus_settings: How it was read.
        rewriter: What decides the answers: the model, how it samples, the system prompt.
        models: That the server lists; none where it keeps no list, or this run had nothing to ask.
        form: Settings of the shards.
        made: Counts and digests of the shards.
        asked: Counts of calls, errors and tokens over all rows.
        command: That was typed.
    """
    record = {
        "layout": LAYOUT,
        **made,
        "rewriter": dict(rewriter),
        "models_listed": list(models),
        "asked": dict(asked),
        "form": dict(form),
        "corpus": {"fingerprint": corpus.fingerprint, "counts": dict(corpus.counts), "settings": dict(corpus_settings)},
        "command": list(command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"sftdiv": sftdiv.__version__}
        | {name: version(name) for name in ("aiohttp", "datasets", "pyarrow")},
    }
    write_atomically(folder / PROVENANCE, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    return record


def finished(folder: Path, form: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a corpus that is whole, of this form, and of which no row failed; None where something is left to do."""
    path = folder / PROVENANCE
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record["layout"] != LAYOUT or record["form"] != dict(form) or record["failed"]:
        return None
    shards = [(folder / SHARDS / name, digest) for name, digest in record["shards"].items()]
    return record if all(shard.exists() and file_digest(shard) == digest for shard, digest in shards) else None
