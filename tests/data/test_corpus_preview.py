"""The first examples of a corpus as they were understood."""

import json
import logging
from pathlib import Path

from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.corpus_preview import first_examples, preview_lines
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.reporting.dataset.dataset_provenance import first_examples as examples_of_page
from sftdiv.storage.cache import Store

ROWS = [
    {"question": "What is two\nand two?", "answer": "Four."},
    {"question": "", "answer": "A row without a question."},
    {"question": "And " + "three " * 200, "answer": "Six\x07."},
    {"question": "Never shown.", "answer": "No."},
]


def load(folder):
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    mapping = {"instruction": "question", "response": "answer"}
    converter = Converter(format="auto", id="id", source="source", columns=[], remove=[], mapping=mapping)
    reader = FilesReader(path=str(folder / "mine.jsonl"), max_row_bytes=1 << 20, converter=converter)
    return load_corpus(reader, Store(folder / "cache"), heldout=0, seed=0, on_bad_row="skip")


def test_the_first_two_usable_rows_of_the_file_are_shown_on_every_load(tmp_path, caplog):
    for _ in range(2):  # built, then read from the cache
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="sftdiv.data.corpus_preview"):
            examples = first_examples(load(tmp_path))
        assert examples[0] == [
            {"role": "user", "content": "What is two\nand two?"},
            {"role": "assistant", "content": "Four."},
        ]
        assert len(examples) == 2 and len(examples[1][0]["content"]) == 400
        (record,) = [each for each in caplog.records if "as they were understood" in each.message]
        assert record.message.splitlines()[1:3] == [
            "  1  user: What is two and two?",
            "     assistant: Four.",
        ]
        assert "Never shown" not in record.message and "\x07" not in record.message
        assert max(map(len, preview_lines(examples))) < 140


def test_a_corpus_of_an_earlier_version_shows_its_first_rows_and_its_page_none(tmp_path):
    corpus = load(tmp_path)
    about = Path(corpus.table.cache_files[0]["filename"]).with_name("corpus.json")
    kept = json.loads(about.read_text())
    del kept["first"]
    about.write_text(json.dumps(kept))
    examples = first_examples(corpus)
    assert len(examples) == 2 and [turn["role"] for turn in examples[0]] == ["user", "assistant"]
    old = {"datasets": [{"name": "mine"}]}
    assert examples_of_page(old) == []
    new = {"datasets": [{"name": "mine", "first_examples": examples}]}
    assert examples_of_page(new) == [{"dataset": "mine", "examples": examples}]
