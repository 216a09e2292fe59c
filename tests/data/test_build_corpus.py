"""The corpus that comes out: distinct, canonical, split by group, fingerprinted by content, kept in the store."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sftdiv.data import corpus_file
from sftdiv.data.build_corpus import load_corpus, rejected_file
from sftdiv.data.conversion import check_first_rows
from sftdiv.data.dedup import NearDuplicateFinder
from sftdiv.data.example_table import normalise
from sftdiv.data.external_sort import PARTS, Spill, write_parts
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.data.hub_reader import HubReader
from sftdiv.records import Corpus, Example, SftdivError
from sftdiv.storage.cache import Store


@dataclass
class ListReader:
    """Examples from a list; ``reads`` counts how often they were asked for."""

    rows: Sequence[Example]
    reads: list[int] = field(default_factory=list)

    def identity(self) -> Mapping[str, Any]:
        return {"rows": [[row.messages, row.source, row.id, row.extra] for row in self.rows]}

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        self.reads.append(1)
        return iter(self.rows)


def example(asked: str, answered: str, **labels: Any) -> Example:
    return Example([{"role": "user", "content": asked}, {"role": "assistant", "content": answered}], **labels)


def load(reader: Any, folder: Path, *, heldout: int = 0, on_bad_row: str = "error", dedup: str = "exact") -> Corpus:
    return load_corpus(reader, Store(folder), heldout=heldout, seed=0, on_bad_row=on_bad_row, dedup=dedup)


def converter(columns: Sequence[str] = ()) -> Converter:
    return Converter(format="auto", id="id", source="source", columns=list(columns), remove=[])


def test_a_small_corpus_in_full(tmp_path: Path) -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "Bye."),
        ("assistant", "Ciao."),
    ]
    talk = Example(
        [{"role": role, "content": content} for role, content in turns], id="talk", extra={"tags": ["x", "y"]}
    )
    corpus = load(ListReader([talk]), tmp_path)
    [row] = corpus.table.to_list()
    assert (row["instruction"], row["response"]) == ("Hi.\n\nBye.", "Hello.\n\nCiao.")
    assert (row["id"], row["source"], row["tags"], row["heldout"]) == ("talk", "", ["x", "y"], False)
    assert [(turn["role"], turn["content"]) for turn in row["messages"]] == turns
    assert corpus.counts == {"read": 1, "rejected": 0, "duplicates": 0, "examples": 1, "groups": 1, "heldout": 0}


def test_of_duplicates_the_same_one_stays_whatever_the_order(tmp_path: Path) -> None:
    rows = [example("a", "b", source="web"), example("a", "b", source="books"), example("a", "c"), example("A ", "b")]
    corpora = [load(ListReader(order), tmp_path) for order in (rows, rows[::-1])]
    for corpus in corpora:
        assert sorted(zip(corpus.column("instruction"), corpus.column("source"), strict=True)) == [
            ("A ", ""),
            ("a", ""),
            ("a", "books"),
        ]
        assert corpus.counts["duplicates"] == 1
        assert len(set(corpus.column("group"))) == 1
    assert corpora[0].table.to_list() == corpora[1].table.to_list()


def test_ids_are_given_hashed_or_told_apart(tmp_path: Path) -> None:
    ids = load(
        ListReader(
            [example("a", "1", id="x"), example("b", "2", id="x"), example("c", "3", id="y"), example("d", "4")]
        ),
        tmp_path,
    ).column("id")
    assert len(set(ids)) == 4
    assert sorted(len(name) for name in ids) == [1, 14, 14, 32]
    assert sum(name.startswith("x-") for name in ids) == 2


def test_without_dedup_equal_rows_stay_each_with_its_id(tmp_path: Path) -> None:
    rows = [
        example("a", "b", id="x"),
        example("a", "b", id="x"),
        example("a", "b"),
        example("a", "b"),
        example("c", "d", id="y"),
    ]
    exact, none = (load(ListReader(rows), tmp_path / dedup, dedup=dedup) for dedup in ("exact", "none"))
    turned = load(ListReader(rows[::-1]), tmp_path / "turned", dedup="none")
    assert (exact.counts["duplicates"], exact.counts["examples"]) == (3, 2)
    assert (none.counts["duplicates"], none.counts["examples"], none.counts["groups"]) == (0, 5, 2)
    assert len(set(none.column("id"))) == 5
    assert turned.table.to_list() == none.table.to_list()
    assert len({exact.fingerprint, none.fingerprint, turned.fingerprint}) == 2
    with pytest.raises(SftdivError, match=r"corpus.dedup='fuzzy' is unknown. Known: exact, n"):
        load(ListReader(rows), tmp_path, dedup="fuzzy")


def test_near_duplicates_go_after_equal_ones(tmp_path: Path) -> None:
    said = "one two three four five six seven eight nine ten"
    rows = [
        example("count", said),
        example("count", f"{said} eleven"),
        example("count", said),
        example("sing", "la la la"),
    ]
    finder = NearDuplicateFinder(
        on="pair", threshold=0.7, unit="words", shingle=2, permutations=64, recall=0.95, seed=0
    )
    corpora = [
        load_corpus(
            ListReader(order), Store(tmp_path), heldout=0, seed=0, on_bad_row="error", dedup="near", near=finder
        )
        for order in (rows, rows[::-1])
    ]
    exact = load(ListReader(rows), tmp_path)
    counted = {
        "read": 4,
        "rejected": 0,
        "duplicates": 1,
        "near_duplicates": 1,
        "examples": 2,
        "groups": 2,
        "heldout": 0,
    }
    assert [corpus.counts for corpus in corpora] == [counted, counted]
    assert corpora[0].table.to_list() == corpora[1].table.to_list()
    first_count = next(row for row in exact.table.to_list() if row["instruction"] == "count")
    assert first_count in corpora[0].table.to_list()
    with pytest.raises(SftdivError, match=r"corpus.dedup=near needs the settings"):
        load(ListReader(rows), tmp_path, dedup="near")


def test_batches_and_parts_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 300 rows as one batch, then as 43; the carried column is null in the first batches, then whole, then
    # broken numbers.
    rows = [
        example(f"Say {i % 250}.", "yes", source=f"s{i % 3}", extra={"n": None if i < 20 else i % 250 + (i > 200) / 2})
        for i in range(300)
    ]
    whole = load(ListReader(rows), tmp_path / "whole", heldout=9)
    monkeypatch.setattr(corpus_file, "_BATCH", 7)
    cut = load(ListReader(rows), tmp_path / "cut", heldout=9)
    assert cut.fingerprint == whole.fingerprint
    assert cut.counts == whole.counts
    assert cut.table.to_list() == whole.table.to_list()
    assert [batch.num_rows for batch in cut.table.data.to_batches()] == [7] * (len(cut) // 7) + [len(cut) % 7]
    assert not [path for path in tmp_path.rglob("*") if "spill" in path.name]


def test_a_spill_gives_its_rows_back_in_the_order_of_their_hashes(tmp_path: Path) -> None:
    hashes = [f"{number:064x}"[::-1] for number in range(3000)]
    spill = Spill()
    for start in range(0, 3000, 1000):
        path = tmp_path / f"{start}.arrow"
        write_parts(pa.table({"hash": hashes[start : start + 1000], "number": range(start, start + 1000)}), path)
        spill.add(path, 1000)
    parts = [spill.part(part) for part in range(PARTS)]
    assert spill.rows == sum(map(len, parts)) == 3000
    assert [digits for part in parts for digits in sorted(part.column("hash").to_pylist())] == sorted(hashes)
    assert all(
        hashes[number] == digits for part in parts for digits, number in zip(*part.to_pydict().values(), strict=True)
    )
    assert spill.part(5, ["number"]).equals(parts[5].select(["number"]))


@pytest.mark.parametrize(("one", "other"), [("Say  HI", "say hi "), ("ﬁne", "fine"), ("a\n\nb", "A b")])
def test_instructions_that_are_one(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_the_fingerprint_is_of_content(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {number}.", "completion": str(number), "task": "say"} for number in range(50)]
    (tmp_path / "whole.json").write_text(json.dumps(rows))
    random.Random(0).shuffle(rows)
    for name, part in (("one", rows[:20]), ("two", rows[20:] + rows[:3])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)))

    def corpus(*names: str, columns: Sequence[str] = ()) -> Corpus:
        reader = FilesReader(
            path=[str(tmp_path / name) for name in names], max_row_bytes=10_000, converter=converter(columns)
        )
        return load(reader, tmp_path / "store", heldout=2)

    whole, split = corpus("whole.json"), corpus("two.jsonl", "one.jsonl")
    assert whole.fingerprint == split.fingerprint
    assert whole.table.to_list() == split.table.to_list()
    assert split.counts["duplicates"] == 3
    assert (
        len({whole.fingerprint, corpus("one.jsonl").fingerprint, corpus("whole.json", columns=["task"]).fingerprint})
        == 3
    )


def test_built_once_then_mapped(tmp_path: Path) -> None:
    reader = ListReader([example("a", "b")])
    first, second = load(reader, tmp_path), load(reader, tmp_path)
    assert reader.reads == [1]
    assert first.table.to_list() == second.table.to_list()
    assert Path(second.table.cache_files[0]["filename"]).is_relative_to(tmp_path)


def test_bad_rows_stop_the_run_or_are_written_down(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": ""}\n{"prompt": "caf\xe9"\n')
    reader = FilesReader(path=str(path), max_row_bytes=1000, converter=converter())
    with pytest.raises(
        SftdivError,
        match=r"data.jsonl, line 2: empty response: .* With corpus.on_bad_row=skip bad rows go to rejected.jsonl",
    ):
        load(reader, tmp_path / "store")
    corpus = load(reader, tmp_path / "store", on_bad_row="skip")
    assert corpus.counts == {
        **{"read": 3, "rejected": 2, "rejected.empty_response": 1, "rejected.not_JSON": 1},
        **{"duplicates": 0, "examples": 1, "groups": 1, "heldout": 0},
    }
    written = rejected_file(corpus)
    assert written is not None
    rejected = [json.loads(line) for line in written.read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejected] == [(str(path), 2), (str(path), 3)]
    assert rejected[0]["reason"].startswith("empty response")
    assert "caf\udce9" in rejected[1]["text"]


def test_a_rejected_gigabyte_does_not_become_one_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + "x" * 500_000)
    written = rejected_file(
        load(FilesReader(path=str(path), max_row_bytes=100_000, converter=converter()), tmp_path, on_bad_row="skip")
    )
    assert written is not None
    assert written.stat().st_size < 3000


def test_errors_of_a_whole_corpus(tmp_path: Path) -> None:
    with pytest.raises(SftdivError, match=r"no example: 0 rows were read"):
        load(ListReader([]), tmp_path)
    with pytest.raises(SftdivError, match=r"corpus.on_bad_row='ignore' is unknown. Known: error, skip"):
        load(ListReader([example("a", "b")]), tmp_path, on_bad_row="ignore")
    with pytest.raises(SftdivError, match=r"A column of corpus.columns mixes types"):
        load(ListReader([example("a", "b", extra={"n": 1}), example("c", "d", extra={"n": "one"})]), tmp_path)


def test_nothing_is_rejected_in_a_clean_corpus(tmp_path: Path) -> None:
    assert rejected_file(load(ListReader([example("a", "b")]), tmp_path)) is None


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def file_reader(path: Path, **settings: Any) -> FilesReader:
    plain: dict[str, Any] = {"format": "auto", "id": "id", "source": "source", "columns": [], "remove": []}
    return FilesReader(path=str(path), max_row_bytes=10_000, converter=Converter(**{**plain, **settings}))


def test_a_users_column_may_have_any_name(tmp_path: Path) -> None:
    internal = ["hash", "label", "part", "row", "carried.hash"]
    rows = [{"prompt": f"Say {n}.", "completion": "a", **dict.fromkeys(internal, "same")} for n in range(3)]
    corpus = load(file_reader(lines(tmp_path / "data.jsonl", *rows), columns=internal), tmp_path / "store")
    assert (corpus.counts["examples"], corpus.counts["duplicates"]) == (3, 0)
    assert [corpus.column(name) for name in internal] == [["same"] * 3] * 5


def test_when_every_row_is_bad_the_reasons_are_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("instruction;output\na;b\nc;d\ne,f\n")
    with pytest.raises(
        SftdivError,
        match=r"no example: 3 rows were read and all of them rejected \(3 wrong columns\). "
        r"The first: .*data.csv, line 2: wrong columns: the row holds instruction;output; known: ",
    ) as caught:
        load(file_reader(path), tmp_path / "store", on_bad_row="skip")
    kept = Path(str(caught.value).rpartition(" All are in ")[2])
    assert [json.loads(line)["line"] for line in kept.read_text().splitlines()] == [2, 3, 4]
    path.write_text("instruction,output\na,b\n")
    load(file_reader(path), tmp_path / "store", on_bad_row="skip")


def test_what_is_not_read_is_counted_and_named_in_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": f"Say {n}.", "completion": "a", "rejected": "b"} for n in range(3)]
    reader = file_reader(lines(tmp_path / "data.jsonl", *rows, {"prompt": "Sing.", "completion": "La."}))
    for _ in range(2):  # built, then mapped
        caplog.clear()
        assert load(reader, tmp_path / "store").counts["unread.rejected"] == 3
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
            "corpus: columns and fields that rows hold and that are not read: rejected (3); corpus.ignore=[NAME] says "
            "that this is meant, corpus.mapping names the columns that hold a conversation"
        ]


def test_the_unread_rest_of_a_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "data.json"
    path.write_text('[{"prompt": "a", "completion": "b"},\n{"prompt": "c" "completion": "d"},\n{"prompt": "e"}]')
    corpus = load(file_reader(path), tmp_path / "store", on_bad_row="skip")
    assert corpus.counts["rejected.unreadable_rest"] == 1
    assert f"{path}, line 2: unreadable rest: not JSON: Expecting ',' delimiter" in caplog.text
    assert "corpus: 1 files could not be read to their end: rows are missing" in caplog.text


def test_settings_that_name_a_column_that_no_row_has(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "data.jsonl", {"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d", "origin": 1}
    )
    assert load(file_reader(path, source="origin"), tmp_path / "store").column("source").count("1") == 1
    for setting, settings in {
        "corpus.source_column='orgin'": {"source": "orgin"},
        "corpus.id_column='orgin'": {"id": "orgin"},
        "corpus.mapping.system='orgin'": {"mapping": {"system": "orgin"}},
        "corpus.columns='orgin'": {"columns": ["origin", "orgin"]},
    }.items():
        with pytest.raises(
            SftdivError,
            match=rf"{setting} names a column that none of the first 2 rows has. Did you mean 'origin'\? Known: prom",
        ):
            load(file_reader(path, **settings), tmp_path / "store", on_bad_row="skip")
    parquet = tmp_path / "data.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "completion": ["b"], "origin": ["web"]}), parquet)
    with pytest.raises(SftdivError, match=r"corpus.source_column='orgin'.* Did you mean 'origin'\?"):
        load(file_reader(parquet, source="orgin"), tmp_path / "store")


def test_a_column_that_a_setting_names_is_looked_for_before_a_long_read(tmp_path: Path) -> None:
    pair, long = {"prompt": "a", "completion": "b"}, tmp_path / "a.jsonl"
    converter = file_reader(long, source="origin").converter
    read: Counter[str] = Counter()

    def rows(name: str, row: dict[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
        for number in range(5000):
            read[name] += 1
            yield number, row

    check_first_rows(converter, [rows("first", pair), rows("second", {**pair, "origin": "web"}), rows("third", pair)])
    assert read["first"] <= 1001 and read["second"] <= 2 and not read["third"]
    with pytest.raises(SftdivError, match=r"corpus.source_column='origin' names a column that none of the first 1,000"):
        check_first_rows(converter, [rows("fourth", pair)])
    assert read["fourth"] <= 1001


def test_carried_columns_of_one_type(tmp_path: Path) -> None:
    pair = {"prompt": "a", "completion": "b"}
    path = lines(tmp_path / "data.jsonl", {**pair, "n": 1}, {**pair, "n": None}, {**pair, "n": 0.5}, {**pair, "n": "x"})
    with pytest.raises(
        SftdivError,
        match=r"data.jsonl, line 4: the column 'n' of corpus.columns holds text, and numbers in .*data.jsonl, line 1",
    ):
        load(file_reader(path, columns=["n"]), tmp_path / "store", on_bad_row="skip")
    lines(path, {**pair, "n": 2**63 - 1}, {**pair, "n": 2**64})
    with pytest.raises(SftdivError, match=r"line 2: wrong column type: 'n' is an integer of more than 64 bits"):
        load(file_reader(path, columns=["n"]), tmp_path / "store")


def test_control_characters_and_megabytes_stay_out_of_messages(tmp_path: Path) -> None:
    for key in ("\x1b[2J\x9b2J\u202e", "k" * 9000):
        with pytest.raises(SftdivError) as caught:
            load(file_reader(lines(tmp_path / "data.jsonl", {key: 1})), tmp_path / "store")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"script.py": "import datasets"}, "RuntimeError, Dataset scripts are no longer supported"),
        (
            {"a.jsonl": '{"prompt": "a", "completion": "b"}\n', "b.jsonl": '{"prompt": "a", "extra": 1}\n'},
            "DatasetGenerationError, An error occurred while generating the dataset",
        ),
        ({"a.jsonl": '{"prompt": \n'}, "DatasetGenerationError, "),
    ],
)
def test_hub_data_sets_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], reason: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / ("script" if "script.py" in files else "data")
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    reader = HubReader(path=str(folder), name=None, split="train", revision=None, converter=converter())
    with pytest.raises(SftdivError, match=rf"cannot be loaded from the hub: {reason}.*can be read with corpus=files"):
        load(reader, tmp_path / "store")


def test_hub_reads_what_load_dataset_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(
        '{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": ""}\n'
    )
    reader = HubReader(path=str(tmp_path / "data"), name=None, split="train", revision=None, converter=converter())
    corpus = load(reader, tmp_path / "store", on_bad_row="skip")
    assert (corpus.column("instruction"), corpus.counts["rejected.empty_response"]) == (["a"], 1)
    assert json.dumps(reader.identity())
    with pytest.raises(SftdivError, match=r"cannot be loaded from the hub"):
        load(
            HubReader(path=str(tmp_path / "data"), name=None, split="test", revision=None, converter=converter()),
            tmp_path / "store",
        )
