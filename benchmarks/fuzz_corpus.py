"""Loads fuzzed corpus files of every format, layout and compression, whole and damaged, and counts what came of them.

    python benchmarks/fuzz_corpus.py [FILES=2000] [SEED=0] > benchmarks/fuzz_corpus.txt

A file is written from rows of which it is known which are good, bad and equal. Undamaged, its counts must
be exactly these; with damage that costs one row, also exactly. With bytes flipped, cut or inserted
anywhere, no row may be missing without a rejection, and what was loaded of a cut file must be what was
written. With ``on_bad_row=error`` a file loads in full or ends in `SftdivError` with its name and a row.
Any other exception, and any file that takes 20 seconds, is a failure. Exit status 1 if there is one.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store

SECONDS = 20
LIMIT = 100_000  # corpus.max_row_bytes
TEXTS = (
    "Count, to",
    'say "it"',
    "line\nbreak",
    "日本語 のテキスト",
    "emoji 🎈",
    "tab\there",
    "{[",
    "], ,",
    "\u2028x",
    "'",
    "\\",
    "﻿",
)
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: _zstd(content),
}
JSON_LAYOUTS = ("lines", "array", "arrays", "pretty", "mixed", "compact")
DAMAGES = ("none", "row", "flip", "cut", "insert", "empty", "utf-16", "other suffix")


@dataclass(frozen=True)
class Case:
    """One fuzzed file.

    Attributes:
        path: The file.
        description: Format, layout, compression and damage.
        rows: Answer of each row in the order of the file; None for a bad row.
        damage: One of `DAMAGES`.
    """

    path: Path
    description: tuple[str, str, str, str]
    rows: Sequence[str | None]
    damage: str

    @property
    def good(self) -> list[str]:
        """Answers of the good rows, with duplicates."""
        return [answer for answer in self.rows if answer is not None]


@dataclass(frozen=True)
class Outcome:
    """What loading a file gave: answers of distinct examples, and counts."""

    answers: Sequence[str]
    read: int
    rejected: int
    duplicates: int


def good_row(rng: np.random.Generator, number: int) -> tuple[dict[str, Any], str]:
    """A good row of a random format, and its last answer."""
    asked, answer = f"{rng.choice(TEXTS)} {number}?", f"{rng.choice(TEXTS)} {number}!"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    if rng.random() < 0.3:
        turns = [{"role": str(rng.choice(["system", "Developer"])), "content": "Be brief."}, *turns]
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    rows: Sequence[dict[str, Any]] = [
        {"messages": turns},
        {"messages": parts},
        {"messages": {key: [turn[key] for turn in turns] for key in ("role", "content")}},
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer, "weight": 1}]},
        {"instruction": asked, "context": "A context.", "response": answer},
        {"instruction": asked, "input": "", "output": answer, "history": [["Hi.", "Hello."]]},
        {"prompt": asked, "completion": answer, "system_prompt": "Be brief."},
        {"prompt": turns[:-1], "completion": turns[-1:]},
    ]
    return dict(rows[rng.integers(len(rows))]), answer


def bad_row(rng: np.random.Generator, number: int) -> Any:
    """A row that must be rejected."""
    rows: Sequence[Any] = [
        {"question": f"{number}"},
        {"instruction": "a", "output": " "},
        {"instruction": f"{number}", "output": "b", "tools": [{"name": "f"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"{number}", "weight": 0}]},
        {"messages": [{"role": "tool", "content": "a"}]},
        {"instruction": "a", "output": f"{number}", "label": False},
    ]
    return rows[rng.integers(len(rows))]


def written_rows(rng: np.random.Generator) -> tuple[list[Any], list[str | None]]:
    """Rows in the order of the file, and the answer of each; None for a bad one."""
    rows: list[Any] = []
    answers: list[str | None] = []
    for number in range(int(rng.integers(1, 25))):
        chance = rng.random()
        good = [position for position, answer in enumerate(answers) if answer is not None]
        if chance < 0.1:
            row, answer = bad_row(rng, number), None
        elif chance < 0.2 and good:
            again = int(rng.choice(good))
            row, answer = rows[again], answers[again]
        else:
            row, answer = good_row(rng, number)
        rows.append(row)
        answers.append(answer)
    return rows, answers


def as_json(rows: Sequence[Any], layout: str, rng: np.random.Generator) -> bytes:
    """Rows as a JSON file of some layout."""
    ascii_only = bool(rng.integers(2))
    dump = partial(json.dumps, ensure_ascii=ascii_only)
    half = len(rows) // 2
    match layout:
        case "lines":
            text = str(rng.choice(["\n", "\r\n", "\n\n"])).join(map(dump, rows))
        case "array":
            text = dump(rows, indent=int(rng.integers(0, 3)))
        case "arrays":
            text = dump(rows[:half], indent=1) + "\n" + dump(rows[half:])
        case "pretty":
            text = "\n".join(dump(row, indent=2) for row in rows)
        case "mixed":
            text = "\n".join([*map(dump, rows[:half]), dump(rows[half:], indent=1)])
        case _:
            text = "".join(map(dump, rows))
    return (("\ufeff" if rng.random() < 0.1 else "") + text + str(rng.choice(["", "\n"]))).encode()


def as_table(rows: Sequence[Any], delimiter: str) -> bytes:
    """Rows as comma- or tab-separated values: lists and objects as JSON text, absent values as blanks."""
    stream = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["instruction", "output"]
    writer = csv.DictWriter(stream, names, delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: json.dumps(value) if isinstance(value, (list, dict)) else value for name, value in row.items()}
        )
    return stream.getvalue().encode()


def write_arrow(rows: Sequence[Any], path: Path) -> None:
    """Rows as Parquet or Arrow, with lists and objects as JSON text (one column cannot mix their types)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row)) or ["instruction", "output"]
    flat = [
        {name: json.dumps(v) if isinstance(v := row.get(name), (list, dict, bool, int)) else v for name in names}
        for row in rows
    ]
    table = pa.table({name: pa.array([row[name] for row in flat], type=pa.string()) for name in names})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=7, compression="zstd")
        return
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, 7)


def write_case(rng: np.random.Generator, folder: Path, number: int) -> Case:
    """Write one file."""
    kind = str(rng.choice(["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "arrow"]))
    layout, compression = "", ""
    rows, answers = written_rows(rng)
    damage = str(rng.choice(DAMAGES, p=[0.4, 0.1, 0.2, 0.1, 0.1, 0.02, 0.03, 0.05]))
    path = folder / f"{number}.{kind}"
    if kind in ("parquet", "arrow"):
        write_arrow(rows, path)
        content = path.read_bytes()
        damage = damage if damage in ("flip", "cut", "insert", "empty", "other suffix") else "none"
    else:
        compression = str(rng.choice(list(COMPRESSIONS)))
        if kind in ("csv", "tsv"):
            content = as_table(rows, "\t" if kind == "tsv" else ",")
            if damage == "row":
                content += b"one field\n"
                answers.append(None)
        else:
            layout = str(rng.choice(JSON_LAYOUTS))
            content = as_json(rows, layout, rng)
            if damage == "row":
                broken = [
                    b'\n{"instruction": "a", "output": \n',
                    b"\nnot json\n",
                    b'\n{"prompt": "a", "prompt": "b"}\n',
                    b"\n7\n",
                ]
                content += broken[rng.integers(len(broken))]
                answers.append(None)
        if damage == "utf-16":
            content = content.decode().encode("utf-16")
        if (inside := rng.random() < 0.5) and damage in ("flip", "cut", "insert"):
            content = damaged(content, damage, rng)
        content = COMPRESSIONS[compression](content)
        if not inside and damage in ("flip", "cut", "insert"):
            content = damaged(content, damage, rng)
        path = path.with_name(path.name + compression)
    if kind in ("parquet", "arrow"):
        content = damaged(content, damage, rng)
    if damage == "empty":
        content = b""
    if damage == "other suffix":
        path = path.with_name(
            f"{number}.{rng.choice(['jsonl', 'json', 'csv', 'parquet', 'arrow', 'jsonl.gz', 'csv.zst'])}"
        )
    path.write_bytes(content)
    return Case(path, (kind, layout, compression, damage), answers, damage)


def damaged(content: bytes, damage: str, rng: np.random.Generator) -> bytes:
    """Bytes flipped, cut off or inserted anywhere."""
    if not content or damage not in ("flip", "cut", "insert"):
        return content
    changed, at = bytearray(content), int(rng.integers(len(content)))
    if damage == "cut":
        return content[:at]
    if damage == "insert":
        pieces = [b'"', b"\n", b"\x00", b"\xff\xfe", b"]", b"[", b"{", b",", b"\xe9", b"\r", b"[" * 3000, bytes(200)]
        return content[:at] + pieces[rng.integers(len(pieces))] + content[at:]
    for position in rng.integers(len(content), size=int(rng.integers(1, 4))):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def reader_of(path: Path) -> FilesReader:
    """A reader with the default settings."""
    converter = Converter(format="auto", id="id", source="source", columns=[], remove=[])
    return FilesReader(path=str(path), max_row_bytes=LIMIT, converter=converter)


def load_whole(path: Path, on_bad_row: str) -> Outcome:
    """Load a file as a run does, into a store of its own."""
    with tempfile.TemporaryDirectory() as store:
        corpus = load_corpus(reader_of(path), Store(Path(store)), heldout=0, seed=0, on_bad_row=on_bad_row)
        counts = corpus.counts
        answers = [turns[-1]["content"] for turns in corpus.table["messages"]]
        return Outcome(answers, counts["read"], counts["rejected"], counts["duplicates"])


def read_only(path: Path, on_bad_row: str) -> Outcome:
    """As `load_whole`, without sorting and storing the corpus, which takes most of the time."""
    rejected: list[str] = []

    def reject(file: str, line: int, reason: str, text: str) -> None:
        rejected.append(reason)
        if on_bad_row == "error":
            raise SftdivError(f"{file}, line {line}: {reason}")

    conversations = [json.dumps(example.messages) for example in reader_of(path).examples(reject)]
    answers = [json.loads(text)[-1]["content"] for text in set(conversations)]
    return Outcome(answers, len(conversations) + len(rejected), len(rejected), len(conversations) - len(answers))


def failure_of(case: Case, load: Callable[[Path, str], Outcome], on_bad_row: str) -> tuple[str, str]:
    """What came of a file in one word, and what is wrong with that (empty for nothing)."""
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(SECONDS)
    try:
        outcome = load(case.path, on_bad_row)
    except SftdivError as error:
        return "refused", _wrong_refusal(case, str(error), on_bad_row)
    except BaseException:
        return "raised", traceback.format_exc(limit=-3)
    finally:
        signal.alarm(0)
    return "loaded", _wrong_counts(case, outcome)


def _wrong_refusal(case: Case, message: str, on_bad_row: str) -> str:
    has_place = "line" in message or (case.damage == "empty" and "empty file" in message)  # which has no line
    named = case.path.name in message and has_place
    if "has no example" in message and not case.good:
        return ""
    if case.damage == "none" and not (None in case.rows and on_bad_row == "error"):
        return f"refused without damage: {message}"
    return "" if named or "no example: 0 rows" in message else f"no file and row: {message}"


def _wrong_counts(case: Case, outcome: Outcome) -> str:
    written, distinct = len(case.rows), set(case.good)
    found = set(outcome.answers)
    if outcome.read != len(outcome.answers) + outcome.rejected + outcome.duplicates:
        return f"{outcome.read} rows read are not the sum of {outcome}"
    if case.damage in ("none", "row"):
        expected = (distinct, written, case.rows.count(None), len(case.good) - len(distinct))
        counted = (found, outcome.read, outcome.rejected, outcome.duplicates)
        return "" if counted == expected else f"{counted}, expected {expected}"
    if case.damage == "cut":
        return _wrong_cut(case, outcome)
    if outcome.read < written and not outcome.rejected:
        return f"{written} rows written, {outcome.read} read, and none rejected"
    return ""


def _wrong_cut(case: Case, outcome: Outcome) -> str:
    """A cut file holds rows of its beginning; what is missing is rejected, unless the cut lies between two rows."""
    found = set(outcome.answers)
    kept = case.rows[: outcome.read - outcome.rejected + case.rows[: outcome.read].count(None)]
    if case.description[0] in ("csv", "tsv"):  # the last text may be cut: nothing tells it from a whole one
        found = {answer for answer in found if answer in case.rows}
        kept = kept[: max(0, outcome.read - 1)]
    if not found <= set(case.rows):
        return f"{found - set(case.rows)} was never written"
    if outcome.read < len(case.rows) and not outcome.rejected and not {answer for answer in kept if answer} <= found:
        return f"{len(case.rows)} rows written, {outcome.read} read, and none rejected"
    return ""


def _interrupt(signum: int, frame: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def fuzz(files: int, seed: int, folder: Path, load: Callable[[Path, str], Outcome]) -> tuple[Counter[Any], list[str]]:
    """Counts by damage and outcome, and the failures, of a number of files."""
    logging.disable(logging.WARNING)
    counts: Counter[Any] = Counter()
    failures = []
    for number in range(files):
        rng = np.random.default_rng([seed, number])
        case = write_case(rng, folder, number)
        on_bad_row = str(rng.choice(["error", "skip"]))
        outcome, failure = failure_of(case, load, on_bad_row)
        counts[case.damage, outcome] += 1
        if failure:
            failures.append(f"{case.path.name} {case.description} {on_bad_row}: {failure}")
        else:
            case.path.unlink()
    logging.disable(logging.NOTSET)
    return counts, failures


def main() -> None:
    files, seed = (int(text) for text in [*sys.argv[1:], *["2000", "0"][len(sys.argv) - 1 :]])
    folder = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    counts, failures = fuzz(files, seed, folder, load_whole)
    print(f"{files} files, seed {seed}: {len(failures)} failures")
    print(f"{'damage':14}{'loaded':>8}{'refused':>9}{'raised':>8}")
    for damage in DAMAGES:
        print(f"{damage:14}{counts[damage, 'loaded']:8}{counts[damage, 'refused']:9}{counts[damage, 'raised']:8}")
    if failures:
        print(*failures, sep="\n", file=sys.stderr)
        sys.exit(f"files of the failures: {folder}")


if __name__ == "__main__":
    main()
