"""The record of a rewritten corpus, ``provenance.json``: written last, so its presence means a complete corpus.

On a rerun the record tells whether the corpus is intact and has the requested form. The digests of the
shards are computed again for that, at about 1 GB/s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sftdiv
from sftdiv.data.regenerate.shards import SHARDS
from sftdiv.records import Corpus
from sftdiv.storage.file_digests import DamagedFileError, read_sealed, write_sealed
from sftdiv.storage.hashing import file_digest

log = logging.getLogger(__name__)
PROVENANCE = "provenance.json"
LAYOUT = 1  # raise it when the same settings would lead to other requests or other files


def write_provenance(
    folder: Path,
    *,
    corpus: Corpus,
    corpus_settings: Mapping[str, Any],
    rewriter: Mapping[str, Any],
    models: Sequence[str],
    form: Mapping[str, Any],
    written: Mapping[str, Any],
    usage: Mapping[str, Any],
    command: Sequence[str],
) -> dict[str, Any]:
    """Write the record and return it.

    Args:
        folder: Folder of the rewritten corpus.
        corpus: The original corpus.
        corpus_settings: Settings that the original was read with.
        rewriter: Identity of the rewriter: model, sampling, system prompt.
        models: Models that the server lists; empty if it has no list, or this run sent no request.
        form: Settings of the shards.
        written: Counts and digests of the shards; see `sftdiv.data.regenerate.shards.write_shards`.
        usage: Counts of calls, errors and tokens over all rows.
        command: Command line.
    """
    record = {
        "layout": LAYOUT,
        **written,
        "rewriter": dict(rewriter),
        "models_listed": list(models),
        "asked": dict(usage),
        "form": dict(form),
        "corpus": {"fingerprint": corpus.fingerprint, "counts": dict(corpus.counts), "settings": dict(corpus_settings)},
        "command": list(command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"sftdiv": sftdiv.__version__}
        | {name: version(name) for name in ("aiohttp", "datasets", "pyarrow")},
    }
    write_sealed(folder / PROVENANCE, record)
    return record


def finished(folder: Path, form: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a complete corpus of this form without failed rows; None if there is work left."""
    path = folder / PROVENANCE
    if not path.exists():
        return None
    try:
        record = read_sealed(path, way_out="the corpus is written again from the journal of answers")
    except DamagedFileError as error:
        log.warning("%s", error)
        return None
    if record["layout"] != LAYOUT or record["form"] != dict(form) or record["failed"]:
        return None
    shards = [(folder / SHARDS / name, digest) for name, digest in record["shards"].items()]
    return record if all(shard.exists() and file_digest(shard) == digest for shard, digest in shards) else None
