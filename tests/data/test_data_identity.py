"""Identities of the readers and of near duplicates: every setting counts, or is listed as performance-only.

Every option of ``conf/corpus`` and ``conf/corpus/near`` is composed and instantiated; then each field of
the component, and of the components in its fields, is changed in turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from sftdiv.config.app import conf_dir
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.data.hub_reader import HubReader
from sftdiv.storage.hashing import identity_of, libraries_of

CORPORA = sorted(path.stem for path in (conf_dir() / "corpus").glob("*.yaml"))
NEAR = sorted(path.stem for path in (conf_dir() / "corpus" / "near").glob("*.yaml"))
# Other values of settings whose values are restricted; numbers and texts are changed by rule.
OTHER = {
    "format": "alpaca",
    "on": "instruction",
    "unit": "characters",
    "threshold": 0.7,
    "recall": 0.9,
    "columns": ["task"],
    "remove": ["<|end|>"],
    "ignore": ["tools"],
    "mapping": {"instruction": "question"},
}


def component(corpus: str, node: str, *overrides: str) -> Any:
    """What a node of ``conf/corpus/CORPUS.yaml`` describes, made as a run makes it."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return instantiate(compose(f"corpus/{corpus}", list(overrides)).corpus[node], _convert_="all")


def another(name: str, value: Any) -> Any:
    """A valid value of a setting that differs from ``value``."""
    if name in OTHER:
        return OTHER[name]
    if value is None or isinstance(value, str):
        return f"{value}-other"
    return value + 1


def variants(part: Any) -> Iterator[tuple[str, Any]]:
    """Name and changed component for each field that may decide a result, at any depth, but paths of files."""
    skipped = getattr(part, "performance_only", frozenset())
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in skipped or (field.name == "path" and isinstance(part, FilesReader)):
            continue
        if is_dataclass(value):
            for name, changed in variants(value):
                yield f"{field.name}.{name}", replace(part, **{field.name: changed})
        else:
            yield field.name, replace(part, **{field.name: another(field.name, value)})


def check_that_every_field_counts(part: Any) -> None:
    before = json.dumps(identity_of(part), sort_keys=True)
    identities = {name: json.dumps(identity_of(changed), sort_keys=True) for name, changed in variants(part)}
    assert identities and not [name for name, identity in identities.items() if identity == before]
    assert len(set(identities.values())) == len(identities)
    for text in ("sftdiv", "_target_", type(part).__name__, str(Path.cwd())):  # no import paths, class names or places
        assert text not in before


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    return path


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_setting_of_a_reader_is_part_of_its_identity(corpus: str, data: Path) -> None:
    overrides = [] if corpus == "embedded" else [f"corpus.path={data if corpus == 'files' else 'owner/data'}"]
    check_that_every_field_counts(component(corpus, "reader", *overrides))


@pytest.mark.parametrize("near", NEAR)
def test_every_setting_of_near_duplicates_is_part_of_its_identity(near: str) -> None:
    check_that_every_field_counts(component("embedded", "near", f"corpus/near={near}"))


def test_no_two_readers_share_an_identity(data: Path) -> None:
    kinds = [
        identity_of(component("embedded", "reader"))["kind"],
        identity_of(component("files", "reader", f"corpus.path={data}"))["kind"],
        identity_of(component("hub", "reader", "corpus.path=owner/data"))["kind"],
    ]
    assert len(set(kinds)) == len(CORPORA) == 3


def test_a_local_data_set_is_identified_by_its_content(data: Path) -> None:
    converter = Converter(format="auto", id="id", source="source", columns=[], remove=[])

    def identity(path: Path) -> Any:
        return HubReader(path=str(path), name=None, split="train", revision=None, converter=converter).identity()

    before = identity(data.parent)
    assert str(data.parent) not in json.dumps(before)
    data.write_text('{"prompt": "a", "completion": "c"}\n')
    assert identity(data.parent) != before


def test_versions_of_libraries_are_no_part_of_an_identity_but_named() -> None:
    assert libraries_of(component("embedded", "reader")) == {"numpy"}
    assert libraries_of(component("embedded", "near")) == {"datasketch"}


def test_facts_and_benchmark_depend_on_the_seed_alone() -> None:
    worlds = [
        component("embedded", "reader", *overrides).world
        for overrides in (["corpus.samples=200"], ["corpus.skew=0.5"], ["corpus.seed=1"])
    ]
    small, even, other = (world.facts_identity() for world in worlds)
    assert small == even != other
    assert worlds[0].statements == worlds[1].statements != worlds[2].statements
