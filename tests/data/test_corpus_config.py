"""Each corpus config, composed and instantiated as a run does, hands its settings to its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from warm_process import run_program

from sftdiv.config.app import conf_dir
from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import MAPPED, Converter
from sftdiv.data.hub_reader import HubReader
from sftdiv.data.synthetic.world import World
from sftdiv.data.synthetic_reader import SyntheticReader
from sftdiv.storage.cache import Store

NO_MAPPING = dict.fromkeys(MAPPED)
PLAIN = Converter(format="auto", id="id", source="source", columns=[], remove=[], mapping=NO_MAPPING, ignore=[])


def reader(corpus: str, *overrides: str) -> Any:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return instantiate(compose(f"corpus/{corpus}", list(overrides)).corpus.reader)


def test_files() -> None:
    settings = [
        "path=[a.csv,b.csv]",
        "ignore=[tools]",
        "mapping.input=passage",
        "format=alpaca",
        "id_column=key",
        "source_column=from",
        "columns=[task]",
        "remove=['<|end|>']",
    ]
    made = reader("files", *(f"corpus.{setting}" for setting in settings))
    named = Converter(
        format="alpaca",
        id="key",
        source="from",
        columns=["task"],
        remove=["<|end|>"],
        mapping=NO_MAPPING | {"input": "passage"},
        ignore=["tools"],
    )
    assert made == FilesReader(path=["a.csv", "b.csv"], max_row_bytes=2**24, converter=named)


def test_hub() -> None:
    made = reader("hub", "corpus.path=owner/data", "corpus.config=en", "corpus.revision=abc")
    assert made == HubReader(path="owner/data", name="en", split="train", revision="abc", converter=PLAIN)


def test_wrong_settings_reach_the_user() -> None:
    with pytest.raises(
        InstantiationException,
        match=r"corpus.format='alpacca' is unknown. Did you mean 'alpaca'\? Known: auto, messages",
    ):
        reader("files", "corpus.path=a.csv", "corpus.format=alpacca")


def test_roles_in_the_list_of_carried_columns_name_the_mapping() -> None:
    result = run_program("sftdiv.run", "corpus=files", "corpus.path=a.csv", "corpus.columns.instruction=question")
    assert result.returncode == 1
    assert "corpus.mapping, as in corpus.mapping.instruction=question" in result.stderr
    assert "Traceback" not in result.stderr


def test_embedded(tmp_path: Path) -> None:
    made = reader("embedded", "corpus.samples=200", "corpus.seed=100")
    assert made == SyntheticReader(world=World(seed=100, size=200, skew=1.0))
    assert made.identity() == {"kind": "synthetic", "world": {"version": 1, "seed": 100, "size": 200, "skew": 1.0}}
    corpus = load_corpus(made, Store(tmp_path), heldout=500, seed=0, on_bad_row="error")
    assert corpus.counts["examples"] == 200
    assert corpus.counts["heldout"] == sum(corpus.column("heldout")) <= 10
    assert {"topic", "tags", "skill", "style"} < set(corpus.table.column_names)
