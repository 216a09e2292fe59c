"""Files as users have them, whole and broken: a bad piece is named by file, line and reason, and spoils
nothing else."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.records import SftdivError

ROWS = [{"prompt": "Name a\ncolour.", "completion": "Réd."}, {"prompt": "Count.", "completion": '1, 2, "3"'}]
GOOD = json.dumps(ROWS[0]).encode()
LIMIT = 4000


def reader(path: str | Path | Sequence[str]) -> FilesReader:
    converter = Converter(format="auto", id="id", source="source", columns=[], remove=[])
    return FilesReader(path=str(path) if isinstance(path, Path) else path, max_row_bytes=LIMIT, converter=converter)


def read(path: Any) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    """Instruction and response of each example, and line and reason of each rejection."""
    rejected: list[tuple[int, str]] = []
    examples = reader(path).examples(lambda file, line, reason, text: rejected.append((line, reason)))
    return [(example.messages[0]["content"], example.messages[1]["content"]) for example in examples], rejected


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\r\n", encoding="utf-8-sig")
        case ".json":
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        case ".csv":
            with path.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case _:
            columns = dict.fromkeys(name for row in rows for name in row)
            pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_every_kind_gives_the_same_examples(tmp_path: Path, kind: str) -> None:
    assert read(write(tmp_path / f"data.{kind}", ROWS)) == ([tuple(row.values()) for row in ROWS], [])


def test_json_lines_that_go_by_the_name_of_json(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", ROWS).rename(tmp_path / "data.json")
    assert len(read(path)[0]) == 2


def test_a_long_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {number}.", "completion": "x" * 3000} for number in range(1000)]  # three blocks of 1 MiB
    examples, rejected = read(write(tmp_path / "data.json", rows))
    assert examples == [tuple(row.values()) for row in rows] and not rejected


def test_a_file_a_list_a_glob_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one, two = write(tmp_path / "one.jsonl", ROWS[:1]), write(tmp_path / "deep" / "two.csv", ROWS[1:])
    (tmp_path / "README.md").write_text("not data")
    assert reader(one).files() == [one]
    for both in ([str(one), str(two), str(one)], str(tmp_path / "**" / "*.*s*"), str(tmp_path)):
        assert reader(both).files() == [two, one]


def test_paths_that_name_nothing_or_the_unknown(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        SftdivError,
        match=r"no\.jsonl' matches no file. It may be a file, a folder or a glob of .jsonl, .ndjson, .json, .csv, .tsv",
    ):
        reader(tmp_path / "no.jsonl").files()
    write(tmp_path / "mine.jsonl", ROWS)
    with pytest.raises(SftdivError, match=r"mine\.json' matches no file\. Did you mean 'mine\.jsonl'\? It may be"):
        reader(tmp_path / "mine.json").files()
    with pytest.raises(SftdivError, match=r"notes.txt is of an unknown kind. Known: .jsonl"):
        reader(tmp_path / "notes.txt").files()


@pytest.mark.parametrize(
    ("content", "kept", "rejected"),
    [
        (GOOD + b"\n" + GOOD.replace(b"Count", b"") + b"\n", 2, []),
        (b'{"prompt": "caf\xe9", "completion": "b"}\n' + GOOD, 1, [(1, "not UTF-8: ")]),
        (GOOD + b'\n{"prompt": "a\tb", "completion": "c"}\n' + GOOD, 2, [(2, "not JSON: Invalid control character")]),
        (GOOD + b'\n{"prompt": "a", "comp', 1, [(2, "not JSON: Unterminated string")]),
        (
            GOOD + b'\n{"question": "a"}\n' + GOOD,
            2,
            [(2, "wrong columns: the row holds question; known: messages (messages); sharegpt")],
        ),
        (GOOD + b"\n[1]\n7\n", 1, [(2, "not an object: the row is list"), (3, "not an object: the row is int")]),
        (
            b'{"prompt": "' + b"x" * 3_000_000 + b'"}\n' + GOOD,
            1,
            [(1, "too long: more than corpus.max_row_bytes=4000")],
        ),
        (b"[" * 100_000 + b"\n" + GOOD, 1, [(1, "too long: ")]),
        (b"[" * 2_000 + b"\n" + GOOD, 1, [(1, "not JSON: maximum recursion depth")]),
        (b"", 0, [(0, "empty file: ")]),
    ],
)
def test_broken_json_lines(tmp_path: Path, content: bytes, kept: int, rejected: list[tuple[int, str]]) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    examples, found = read(tmp_path / "data.jsonl")
    assert len(examples) == kept
    assert [line for line, _ in found] == [line for line, _ in rejected]
    assert all(reason.startswith(start) for (_, reason), (_, start) in zip(found, rejected, strict=True))


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_gigabyte_line_is_never_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"
    with path.open("wb") as stream:
        stream.write(b"[" if kind == "json" else b"prompt")
        stream.truncate(1 << 30)  # a sparse file: zeros that take no room on the disk
    tracemalloc.start()
    examples, [(line, reason)] = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (examples, line) == ([], 1)
    assert reason.startswith("unreadable rest: not JSON" if kind == "json" else "too long: ")
    assert peak < 20 << 20


@pytest.mark.parametrize(
    ("content", "line", "start"),
    [
        (
            b"[\n" + GOOD + b',\n{"prompt": "a", "comp',
            3,
            "unreadable rest: not JSON: Unterminated string; the file is not read beyond",
        ),
        (b"[\n" + GOOD + b"\n", 3, "unreadable rest: not JSON: Expecting value; the file is not read beyond"),
        (b"[" + GOOD + b',\n{"prompt": "caf\xe9", "completion": "b"}]', 2, "not UTF-8: "),
        (
            b"[" + GOOD + b',\n{"prompt": "' + b"x" * 3_000_000 + b'"}]',
            2,
            "unreadable rest: too long, more than corpus.max_row_bytes=4000",
        ),
    ],
)
def test_broken_arrays_keep_what_stands_before(tmp_path: Path, content: bytes, line: int, start: str) -> None:
    (tmp_path / "data.json").write_bytes(content)
    examples, [(found, reason)] = read(tmp_path / "data.json")
    assert (len(examples), found, reason[: len(start)]) == (1, line, start)


@pytest.mark.parametrize(
    ("content", "kept", "rejected"),
    [
        (
            b'prompt,completion\na,b\nc\n\n"d\nd",e\nf,g,h\n',
            2,
            [(3, "wrong columns: 1 fields under"), (7, "wrong columns: 3 fields under")],
        ),
        (b'prompt,completion\na,"b\n', 0, [(2, "not CSV: unexpected end of data")]),
        (b'prompt,completion\n"a,b\nc,d\ne,f\n', 2, [(2, "not CSV: unexpected end of data")]),
        (b'prompt,completion\n"a\nb",c\n"d\ne,f,g\nh', 1, [(4, "unreadable rest: not CSV, perhaps a quote")]),
        (b"prompt,completion\ncaf\xe9,b\n", 0, [(2, "not UTF-8: ")]),
        (b"prompt,completion\n" + b"x" * 100_000 + b",b\nc,d\n", 1, [(2, "too long: ")]),
        (b"prompt,answer\na,b\n", 0, [(2, "wrong columns: the row holds prompt, answer; known: ")]),
    ],
)
def test_broken_csv(tmp_path: Path, content: bytes, kept: int, rejected: list[tuple[int, str]]) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    examples, found = read(tmp_path / "data.csv")
    assert len(examples) == kept
    assert [
        (line, reason[: len(start)]) for (line, reason), (_, start) in zip(found, rejected, strict=True)
    ] == rejected


def test_broken_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert read(path)[1][0][1].startswith("unreadable rest: not Parquet: ")
    broken = pa.array([b"good", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"prompt": broken, "completion": ["a", "b"]}), path)
    examples, [(line, reason)] = read(path)
    assert (examples, line) == ([("good", "a")], 2)
    assert reason.startswith("not UTF-8: ")


def test_mixed_schemas_are_told_row_by_row(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    rows: list[dict[str, Any]] = [
        {"instruction": "a", "output": "b"},
        {"conversations": turns},
        {"title": "neither"},
        {"prompt": "a", "completion": "b"},
    ]
    for kind in ("jsonl", "parquet"):
        examples, rejected = read(write(tmp_path / f"data.{kind}", rows))
        assert examples == [("a", "b")] * 3
        assert [reason.partition(":")[0] for _, reason in rejected] == ["wrong columns"]


def test_identity_is_of_bytes_and_not_of_paths(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.jsonl", ROWS[:1]), write(tmp_path / "two.jsonl", ROWS[1:])
    before = reader([str(one), str(two)]).identity()
    moved = one.rename(tmp_path / "zzz.jsonl")
    assert reader([str(two), str(moved)]).identity() == before
    assert str(tmp_path) not in json.dumps(before)
    moved.write_bytes(moved.read_bytes() + b"\n")
    assert reader([str(two), str(moved)]).identity() != before


PIECE = st.sampled_from(
    [
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b",",
        b":",
        b"\n",
        b"\r",
        b"\xe9",
        b"\x00",
        b'"prompt"',
        b'"completion"',
        b"prompt",
        b"1",
        GOOD,
    ]
)


@given(
    kind=st.sampled_from(["jsonl", "json", "csv", "parquet"]),
    content=st.lists(PIECE, max_size=12).map(b"".join) | st.binary(),
)
def test_any_bytes_give_examples_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(content)
    assert all(":" in reason for _, reason in read(path)[1])


def test_a_name_of_digits_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2024").mkdir()
    path = write(tmp_path / "2024" / "a.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    year: Any = 2024  # as Hydra reads corpus.path=2024
    assert reader(year).files() == [path]
