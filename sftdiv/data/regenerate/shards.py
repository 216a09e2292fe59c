"""The rewritten corpus: shards of JSON lines in the order of the original, and a file of the rows that are missing.

The answers are read from the journal. The folder of shards can be read with ``corpus=files``; each row
has the id, source and carried columns of the original. Shards are written after all requests, so that
their order is that of the corpus, whatever the order of the answers; the answers are therefore on disk
twice.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sftdiv.data.regenerate.rewriter import CUT
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import Corpus
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import file_digest

SHARDS, FAILURES = "corpus", "failures.jsonl"
NOT_CARRIED = ("instruction", "response", "group", "heldout")  # derived from the messages when the shards are read
KEEP, DROP = "keep", "drop"
BATCH = 256  # rows of the original in memory at once


def rows(corpus: Corpus, limit: int) -> Iterator[dict[str, Any]]:
    """The first ``limit`` rows of a corpus, with ``id``, ``messages``, ``source`` and the carried columns."""
    table = corpus.table.select_columns([name for name in corpus.table.column_names if name not in NOT_CARRIED]).data
    for start in range(0, limit, BATCH):
        yield from table.slice(start, min(BATCH, limit - start)).to_pylist()


def write_shards(
    corpus: Corpus, ledger: Journal, folder: Path, *, limit: int, rows_per_shard: int, on_cut: str
) -> dict[str, Any]:
    """Write ``corpus/`` and ``failures.jsonl`` into the folder, replacing those of an earlier run.

    Args:
        corpus: The original corpus.
        ledger: Journal with a line for each of the first ``limit`` rows.
        folder: Folder of the rewritten corpus.
        limit: Number of rows.
        rows_per_shard: Rows per shard; the last one may have fewer.
        on_cut: ``keep`` or ``drop`` rows with a response that reached the token limit.

    Returns:
        Counts ``rows, written, cut, failed``, ``written_by`` (rows by the model and fingerprint that the
        server reports) and ``shards`` (digest of each file).
    """
    building = folder / f".{SHARDS}.building"
    counts, written_by = Counter(rows=limit, written=0, cut=0, failed=0), Counter[str]()
    failures: list[str] = []
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)

    def rewritten() -> Iterator[Mapping[str, Any]]:
        for row in rows(corpus, limit):
            line = ledger.line(row["id"]) or {"state": FAILED}
            if line["state"] in {CUT, FAILED}:
                counts[line["state"]] += 1
            if reason := _reason(line, on_cut):
                failure = {"id": row["id"], "source": row["source"], "state": line["state"], "reason": reason}
                failures.append(f"{json.dumps(failure)}\n")
                continue
            counts["written"] += 1
            written_by[line["written_by"] or "unknown"] += 1
            yield {**row, "messages": _with_answers(row["messages"], line["answers"])}

    shards = {path.name: file_digest(path) for path in _write(rewritten(), building, rows_per_shard)}
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    building.replace(folder / SHARDS)
    write_atomically(folder / FAILURES, "".join(failures))
    return {**counts, "written_by": dict(written_by), "shards": shards}


def _reason(line: Mapping[str, Any], on_cut: str) -> str | None:
    """Why a row is missing from the shards; None if it is not."""
    if line["state"] == FAILED:
        return str(line.get("refused") or f"an empty response to turn {line.get('turn', 0) + 1}")
    if line["state"] == CUT and on_cut == DROP:
        return "a response reached sampling.max_tokens; on_cut=keep keeps it"
    return None


def _with_answers(messages: Iterable[Mapping[str, str]], answers: Iterable[str]) -> list[dict[str, str]]:
    """The conversation with its assistant turns replaced by ``answers``, in order."""
    remaining = iter(answers)
    rewritten = [dict(message) for message in messages]
    for message in rewritten:
        if message["role"] == "assistant":
            message["content"] = next(remaining)
    return rewritten


def _write(rewritten: Iterator[Mapping[str, Any]], folder: Path, rows_per_shard: int) -> Iterator[Path]:
    """Write the shards; yields each once it is complete."""
    number = 0
    while (first := next(rewritten, None)) is not None:
        path = folder / f"part-{number:05d}.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for row in (first, *islice(rewritten, rows_per_shard - 1)):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        yield path
        number += 1
