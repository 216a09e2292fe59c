"""The corpus that is made of the answers: shards of JSON lines in the order of the original, and what did not come to be part of it.

In: a corpus and the ledger of its answers. Out: a folder that ``corpus=files`` reads, each row with
the id, source and carried columns of the original, and ``failures.jsonl`` beside it. The trade:
shards are written once all is asked, from the ledger, so that their order is that of the corpus
whatever came when; for that the answers are on the disk twice.
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
NOT_CARRIED = ("instruction", "response", "group", "heldout")  # made anew of the messages when the shards are read
KEEP, DROP = "keep", "drop"
BATCH = 256  # rows of the original in memory at once


def rows(corpus: Corpus, limit: int) -> Iterator[dict[str, Any]]:
    """The first rows of a corpus as they are rewritten: ``id, messages, source`` and the carried columns; a batch at a time in memory."""
    table = corpus.table.select_columns([name for name in corpus.table.column_names if name not in NOT_CARRIED]).data
    for start in range(0, limit, BATCH):
        yield from table.slice(start, min(BATCH, limit - start)).to_pylist()


def write_shards(
    corpus: Corpus, ledger: Journal, folder: Path, *, limit: int, rows_per_shard: int, on_cut: str
) -> dict[str, Any]:
    """Write ``corpus/`` and ``failures.jsonl`` into the folder, in place of what an earlier run wrote there.

    Args:
        corpus: The original.
        ledger: A line for each of its first ``limit`` rows.
        folder: Where to.
        limit: Rows.
        rows_per_shard: The last shard may have fewer.
        on_cut: ``keep`` or ``drop`` responses that ran into the limit of tokens.

    Returns:
        Counts ``rows, written, cut, failed``, who wrote the answers (``written_by``: rows by what
        the server calls itself), and ``shards``: the digest of each file.
    """
    building, counts, written_by = (
        folder / f".{SHARDS}.building",
        Counter(rows=limit, written=0, cut=0, failed=0),
        Counter[str](),
    )
    failures: list[str] = []
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)

    def rewritten() -> Iterator[Mapping[str, Any]]:
        for row in rows(corpus, limit):
            line = ledger.line(row["id"]) or {"state": FAILED}
            if line["state"] in {CUT, FAILED}:
                counts[line["state"]] += 1
            if reason := _reason(line, on_cut):
                failures.append(
                    json.dumps({"id": row["id"], "source": row["source"], "state": line["state"], "reason": reason})
                )
                continue
            counts["written"] += 1
            written_by[line["written_by"] or "not told"] += 1
            yield {**row, "messages": _with_answers(row["messages"], line["answers"])}

    shards = {path.name: file_digest(path) for path in _write(rewritten(), building, rows_per_shard)}
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    building.replace(folder / SHARDS)
    write_atomically(folder / FAILURES, "".join(f"{failure}\n" for failure in failures))
    return {**counts, "written_by": dict(written_by), "shards": shards}


def _reason(line: Mapping[str, Any], on_cut: str) -> str | None:
    """Why a row is left out; None where it is not."""
    if line["state"] == FAILED:
        return str(line.get("refused") or f"an empty response to turn {line.get('turn', 0) + 1}")
    return (
        "a response ran into sampling.max_tokens; on_cut=keep keeps it"
        if line["state"] == CUT and on_cut == DROP
        else None
    )


def _with_answers(messages: Iterable[Mapping[str, str]], answers: Iterable[str]) -> list[dict[str, str]]:
    new = iter(answers)
    return [
        {**message, "content": next(new)} if message["role"] == "assistant" else dict(message) for message in messages
    ]


def _write(written: Iterator[Mapping[str, Any]], folder: Path, rows_per_shard: int) -> Iterator[Path]:
    """The files, as each is whole."""
    number = 0
    while (first := next(written, None)) is not None:
        path = folder / f"part-{number:05d}.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for row in (first, *islice(written, rows_per_shard - 1)):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        yield path
        number += 1
