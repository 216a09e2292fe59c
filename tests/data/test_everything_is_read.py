"""All of a file or folder is read, or what is not is named: arrays, compression, damage, folders, our own exports."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sftdiv.data.arrow_buffers import decoded_sizes, first_too_large
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.records import SftdivError
from sftdiv.release.export.lineage import write_lineage
from sftdiv.release.export.write_export import FORMATS, write_export

LIMIT = 4000


def row(number: int) -> dict[str, str]:
    return {"instruction": f"Count to {number}.", "output": f"{number}!"}


def reader(path: Path | Sequence[str], **settings: Any) -> FilesReader:
    plain: dict[str, Any] = {"format": "auto", "id": "id", "source": "source", "columns": [], "remove": []}
    paths = str(path) if isinstance(path, Path) else path
    return FilesReader(path=paths, max_row_bytes=LIMIT, converter=Converter(**{**plain, **settings}))


def read(path: Path | Sequence[str], **settings: Any) -> tuple[list[int], list[tuple[int, str]]]:
    """The number in each example, and line and reason of each rejection."""
    rejected: list[tuple[int, str]] = []
    examples = reader(path, **settings).examples(lambda file, line, reason, text: rejected.append((line, reason)))
    return [int(example.messages[-1]["content"][:-1]) for example in examples], rejected


def lines(numbers: Sequence[int]) -> str:
    return "".join(json.dumps(row(number)) + "\n" for number in numbers)


def array(numbers: Sequence[int], indent: int | None = 1) -> str:
    return json.dumps([row(number) for number in numbers], indent=indent) + "\n"


@pytest.mark.parametrize("kind", [".json", ".jsonl", ".ndjson"])
@pytest.mark.parametrize(
    "content",
    [
        array([0, 1, 2]) + array([3, 4]),
        array([0, 1, 2], indent=None) + array([3, 4], indent=None),
        array([0, 1]) + lines([2, 3, 4]),
        lines([0, 1]) + array([2, 3, 4]),
        lines([0, 1, 2]) + "\ufeff" + lines([3, 4]),
        "".join(json.dumps(row(number), indent=1) + "\n" for number in range(5)),
        "".join(json.dumps(row(number)) for number in range(5)),
        ",\n".join(json.dumps(row(number)) for number in range(5)),
        " [ ] \n" + array([0, 1, 2, 3, 4]),
        "\r".join(json.dumps(row(number)) for number in range(5)),
    ],
)
def test_arrays_lines_and_objects_in_any_order(tmp_path: Path, kind: str, content: str) -> None:
    path = tmp_path / f"data{kind}"
    path.write_text(content, encoding="utf-8")
    assert read(path) == ([0, 1, 2, 3, 4], [])


GOOD, TWICE = json.dumps(row(0)), '{"output": "a", "output": "b"}'


@pytest.mark.parametrize(
    ("content", "numbers", "rejected"),
    [
        (array([0]) + "not json\n" + lines([1]), [0, 1], [(7, "not JSON: Expecting value")]),
        (lines([0]) + TWICE + "\n" + lines([2]), [0, 2], [(2, "doubled key: 'output'")]),
        (f"[{GOOD},\n{TWICE},\n{GOOD}]", [0, 0], [(2, "doubled key: 'output'")]),
        (f'[{GOOD},\n{{"output": "{"x" * 5000}"}},\n{GOOD}]', [0, 0], [(2, "too long")]),
        (json.dumps({"data": [row(0), row(1)]}, indent=1), [], [(1, "wrong columns: the row holds data; known: ")]),
        (
            json.dumps({"data": [row(0)] * 100_000}, indent=1),
            [],
            [(1, "unreadable rest: one JSON object over")],
        ),
        ('{"instruction": "a",\n' + lines([1]), [1], [(1, "not JSON: Expecting property name")]),
        ('{"n": ' + "9" * 9000 + "}\n" + lines([1]), [1], [(1, "too long")]),
    ],
)
def test_damage_in_json_is_named(tmp_path: Path, content: str, numbers: Any, rejected: Any) -> None:
    (tmp_path / "data.json").write_text(content)
    found, reasons = read(tmp_path / "data.json")
    assert found == numbers
    assert [
        (line, reason[: len(start)]) for (line, reason), (_, start) in zip(reasons, rejected, strict=True)
    ] == rejected


def test_keys_in_messages_are_few_and_short(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({f"{'k' * 300}{n}": row(n) for n in range(5)}))
    [(_, reason)] = read(tmp_path / "data.json")[1]
    assert f"holds {'k' * 60}... (241 more characters), kkk" in reason
    assert reason.endswith("It is one JSON object of rows by key: give an array of rows, or one row a line")
    (tmp_path / "data.json").write_text(json.dumps(dict.fromkeys(map(str, range(300)), 1)))
    [(_, reason)] = read(tmp_path / "data.json")[1]
    assert "holds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (290 more); known" in reason


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv"])
def test_compressed_files_and_their_damage(tmp_path: Path, compression: str, kind: str) -> None:
    numbers = range(3000)
    tab = "\t" if kind == ".tsv" else ","
    table = f"instruction{tab}output\n" + "".join(f"Count to {n}.{tab}{n}!\n" for n in numbers)
    content = {".jsonl": lines(numbers), ".json": array(numbers)}.get(kind, table).encode()
    path = tmp_path / f"data{kind}{compression}"
    half = content.index(b"\n", len(content) // 2) + 1
    compress = COMPRESS[compression]
    path.write_bytes(compress(content[:half]) + compress(content[half:]))  # two members, as of `cat a.gz b.gz`
    assert read(path) == (list(numbers), [])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    found, [(_, reason)] = read(path)
    assert found == list(range(len(found)))
    assert reason.startswith("unreadable rest: the file is damaged (")
    path.write_bytes(b"no such stream")
    assert read(path)[1][0][1].startswith("unreadable rest: the file is damaged (")


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_tables_of_text(tmp_path: Path, kind: str) -> None:
    tab = {"csv": ",", "tsv": "\t"}[kind]
    path = tmp_path / f"data.{kind}"
    path.write_text(tab.join(["instruction", "output", "", ""]) + "\n" + tab.join(["Count.", "1!", "", ""]) + "\n")
    assert read(path) == ([1], [])
    path.write_text(tab.join(["instruction", "output", "output"]) + "\n" + tab.join(["Count.", "1!", "2!"]) + "\n")
    with pytest.raises(SftdivError, match=rf"data.{kind}, line 1: the header names output twice: keep one"):
        read(path)


def test_one_quote_too_many_costs_one_row(tmp_path: Path) -> None:
    rows = [f"{'«' if n == 5 else ''}Explain {n},{n}!\n".replace("«", '"') for n in range(200)]
    (tmp_path / "data.csv").write_text("instruction,output\n" + "".join(rows))
    numbers, rejected = read(tmp_path / "data.csv")
    assert numbers == [n for n in range(200) if n != 5]
    assert rejected == [(7, "not CSV: unexpected end of data")]


def test_utf_16_is_named(tmp_path: Path) -> None:
    for kind, content in ((".jsonl", lines([1])), (".json", array([1])), (".csv", "instruction,output\na,b\n")):
        (tmp_path / f"data{kind}").write_text(content, encoding="utf-16")
        [(line, reason)] = read(tmp_path / f"data{kind}")[1]
        assert (line, reason[:49]) == (1, "unreadable rest: the file is UTF-16: save it as U")


def test_a_folder_is_read_whole_and_what_is_not_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1.jsonl").write_text(lines([0, 1, 2]))
    (tmp_path / "2.jsonl.gz").write_bytes(gzip.compress(lines([3, 4]).encode()))
    pq.write_table(pa.Table.from_pylist([row(5)]), tmp_path / "3.parquet")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "4.tsv").write_text("instruction\toutput\nCount.\t6!\n")
    for name in ("dataset_info.json", "lineage.json", "rejected.jsonl", ".hidden.jsonl", "README.md"):
        (tmp_path / name).write_text("{\n}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "5.jsonl").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path) == (list(range(7)), [])
        assert caplog.messages == []
        (tmp_path / "deep" / "6.xlsx").write_text("x")
        (tmp_path / "7.zip").write_text("x")
        assert read(tmp_path) == read(tmp_path) == (list(range(7)), [])
        [message] = caplog.messages
    assert ": 2 files are not read: 7.zip, deep/6.xlsx. Read are .jsonl, " in message


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    import datasets

    parts = {
        name: datasets.Dataset.from_list([row(n) for n in numbers])
        for name, numbers in {"a": [0, 1, 2], "b": [3]}.items()
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"), num_shards={"a": 2, "b": 1})
    (tmp_path / "saved" / "a" / "cache-0.arrow").write_bytes(b"a cache that `map` left")
    assert read(tmp_path / "saved") == ([0, 1, 2, 3], [])
    [file] = (tmp_path / "saved" / "b").glob("*.arrow")
    assert read(file) == ([3], [])
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, parts["a"].data.schema) as writer:
        writer.write_table(parts["a"].data.table)
    assert read(tmp_path / "file.arrow") == ([0, 1, 2], [])
    stream = file.read_bytes()
    file.write_bytes(stream + stream)
    assert read(file) == ([3, 3], [])
    file.write_bytes(stream[:-200])
    assert read(file)[1][0][1].startswith("unreadable rest: not Arrow: ")


def test_links_keep_the_name_that_says_how_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "af31").write_text(lines([1]))
    (tmp_path / "train.jsonl").symlink_to(tmp_path / "blobs" / "af31")  # as the hub's cache stores files
    assert read(tmp_path / "train.jsonl") == ([1], [])


def test_columns_that_nobody_asked_for_are_not_decoded(tmp_path: Path) -> None:
    odd = {
        "date": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
        "time": pa.array([2**62], pa.timestamp("us")),
        "zone": pa.array([0], pa.timestamp("us", tz="Mars/Olympus")),
        "twice": pa.StructArray.from_arrays([pa.array([1])] * 2, names=["a", "a"]),
        "huge": pa.array([2**64 - 1], pa.uint64()),
    }
    pq.write_table(pa.table({"instruction": ["Count."], "output": ["1!"], **odd}), tmp_path / "odd.parquet")
    assert read(tmp_path / "odd.parquet") == ([1], [])
    for name in odd:
        [(line, reason)] = read(tmp_path / "odd.parquet", columns=[name])[1]
        assert line == 1 and name in reason
    pq.write_table(pa.table({"question": ["a"], "answer": ["b"]}), tmp_path / "other.parquet")
    assert read(tmp_path / "other.parquet")[1][0][1].startswith("wrong columns: the row holds ")


def test_a_parquet_file_of_huge_rows_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bomb = pa.table({"instruction": ["a", "x" * 3_000_000], "output": ["b", "c"]})
    pq.write_table(bomb, tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 20_000
    [(line, reason)] = read(tmp_path / "bomb.parquet")[1]
    assert (line, reason.partition(",")[0]) == (1, "unreadable rest: too long")


def write_arrow(path: Path, table: pa.Table, codec: str | None, kind: str) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    return path


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_sizes_of_arrow_batches_are_known_before_they_are_decompressed(
    tmp_path: Path, codec: str | None, kind: str
) -> None:
    texts = [f"text {n} " * 300 for n in range(5)]
    table = pa.table({"instruction": pa.array(texts).dictionary_encode(), "output": texts, "n": [1, None, 3, 4, 5]})
    path = write_arrow(tmp_path / "data.arrow", table, codec, kind)
    with path.open("rb") as stream:
        sizes = list(decoded_sizes(stream))
    assert [rows for rows, _ in sizes] == [2, 2, 1]
    plain = [sum(map(len, texts[start : start + 2])) for start in (0, 2, 4)]
    dictionary = sum(map(len, texts))  # before the first batch
    expected = [plain[0] + dictionary, *plain[1:]] if codec else [0, 0, 0]
    assert all(least <= size <= least + 400 for (_, size), least in zip(sizes, expected, strict=True))
    assert first_too_large(path, limit=1) is None or codec  # only compressed batches are bounded here


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_compressed_arrow_bomb_is_refused_before_it_is_decompressed(tmp_path: Path, kind: str) -> None:
    bomb = pa.table({"instruction": ["a", "b", "x" * 30_000_000], "output": ["1!", "2!", "3!"]})
    path = write_arrow(tmp_path / "bomb.arrow", bomb, "zstd", kind)
    assert path.stat().st_size < 20_000
    before = pa.total_allocated_bytes()
    numbers, [(line, reason)] = read(path)
    assert numbers == [1, 2] and (line, reason.partition(",")[0]) == (3, "unreadable rest: too long")
    assert pa.total_allocated_bytes() == before


def test_an_exhausted_machine_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_arrow(tmp_path / "data.arrow", pa.table({"instruction": ["a"], "output": ["b"]}), None, "file")
    for claimed, message in ((1000, "not enough memory to read it"), (1 << 40, "")):

        def fails(_: object, claimed: int = claimed) -> None:
            raise pa.ArrowMemoryError(f"malloc of size {claimed} failed")

        monkeypatch.setattr("sftdiv.data.arrow_rows._record_batches", fails)
        if message:
            with pytest.raises(SftdivError, match=message):
                read(path)
        else:
            assert "not Arrow: malloc" in read(path)[1][0][1]


@pytest.mark.parametrize("format", FORMATS)
def test_our_own_exports_are_read_back(tmp_path: Path, format: str) -> None:
    import datasets

    turns = [("system", "Be brief."), ("user", "Hi.\u2028"), ("assistant", "[]"), ("user", "Bye."), ("assistant", "{}")]
    talks = [
        [{"role": role, "content": text} for role, text in part] for part in (turns, turns[1:3], turns[:3], turns[1:])
    ]
    rows = datasets.Dataset.from_dict({"id": list("abcd"), "messages": talks, "source": ["s"] * 4})
    write_export(rows, tmp_path / "export", format=format, name="mine")
    write_lineage(tmp_path / "export", "mine", {"files": {}})
    assert [example.messages for example in reader(tmp_path / "export").examples(print)] == talks


def test_what_follows_a_line_that_is_too_long(tmp_path: Path) -> None:
    for size in (5000, 1 << 20, (1 << 20) - 1, 3 << 20):
        content = lines([0]) + '{"x": "' + "é" * (size // 2) + '"}\n' + lines([1])
        (tmp_path / "data.jsonl").write_text(content, encoding="utf-8")
        numbers, [(line, reason)] = read(tmp_path / "data.jsonl")
        assert (numbers, line, reason) == ([0, 1], 2, "too long: more than corpus.max_row_bytes=4000")
