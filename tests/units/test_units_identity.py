"""Identities of all registered extractors, taggers, clusterers, normalisation steps and embedders, field by field."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from sftdiv.config.app import register_resolvers
from sftdiv.storage.hashing import identity_of, libraries_of
from sftdiv.units.clustering.stability import Stability
from sftdiv.units.result_columns import result_columns
from sftdiv.units.tagging.characters import CharacterEmbedder
from sftdiv.units.tagging.frequency import Frequency
from sftdiv.units.tagging.keyphrase import KeyphraseTagger
from sftdiv.units.tagging.semantic import Semantic

CONF = Path(__file__).parents[2] / "conf"
HEAVY = ("torch", "numba", "sklearn", "transformers", "sentence_transformers", "pandas", "datasets")
# a hub model, since the packaged MiniLM has no revision
HUB_MODEL = "strategy.units.normaliser.semantic.embedder.path=org/model"
EXTRA = {
    "strategy/tagger=llm": ["strategy.model=m", "strategy.endpoint.base_url=http://localhost:8000/v1", HUB_MODEL],
    "strategy=meso_tag_llm": [
        "+tags=llm",
        "tags.model=m",
        "tags.endpoint.base_url=http://localhost:8000/v1",
        HUB_MODEL,
    ],
    "strategy/tagger=instagger": [HUB_MODEL],
    "strategy/normalise=instag": [HUB_MODEL],
    "strategy/normalise=of_llm": [HUB_MODEL],
    "strategy/normalise=of_instagger": [HUB_MODEL],
    "embedder=minilm": ["embedder.path=org/model"],
}
STRINGS = {  # valid alternatives
    "unit": ("documents",),
    "scale": ("per_million",),
    "noise": ("nearest", "drop"),
    "selection": ("leaf",),
    "structured": ("none",),
    "dtype": ("float32",),
    "language": ("de",),
    "prompt": ("another prompt for {text}",),
}
OTHER_NAMES = (
    "strategy=placebo",
    "strategy=macro_topic_umap",
    "strategy=meso_tag_llm",
)  # kinds with other settings
MISSING = {  # values of settings that are null by default
    "revision": "v1",
    "max_tokens": 64,
    "prompt": "query: ",
    "device": "cpu",
    "devices": ["cpu"],
    "batch_tokens": 7,
    "api_key_env": "SOME_KEY",
    "requests_per_minute": 60.0,
    "batch": "openai",
    **{step: Frequency(min_texts=3) for step in ("frequency", "rules", "semantic", "association")},
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


CHOICES = [
    *((f"strategy={name}",) for name in options("strategy")),
    *(("strategy=macro_topic", f"strategy/clusterer={name}") for name in options("strategy/clusterer")),
    *(("strategy=meso_tag", f"strategy/tagger={name}") for name in options("strategy/tagger")),
    *(("strategy=meso_tag", f"strategy/normalise={name}") for name in options("strategy/normalise")),
    *((f"embedder={name}",) for name in options("embedder") if name != "none"),
]


@cache
def node(choice: tuple[str, ...]) -> dict[str, Any]:
    """The config node of the component that a choice of options is about."""
    register_resolvers()
    overrides = [*choice, *EXTRA.get(choice[-1], [])]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("config", overrides=overrides)
    chosen = config.embedder if choice[0].startswith("embedder") else config.strategy.units
    return OmegaConf.to_container(chosen, resolve=True)  # type: ignore[return-value]


def component(choice: tuple[str, ...]) -> Any:
    return instantiate(node(choice), _convert_="all")


def alternative(name: str, value: Any, tag_map: Path) -> Any:
    """Another valid value of a setting."""
    if value is None:
        return str(tag_map) if name == "tag_map" else MISSING[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.9 if value else 0.5
    if isinstance(value, str):
        return next(other for other in STRINGS.get(name, (f"{value}-2",)) if other != value)
    if isinstance(value, dict):
        return {**value, "top_k": 1}
    raise TypeError(f"no alternative is known for {name}={value!r}")


def variants(component: Any, tag_map: Path) -> Iterator[tuple[str, Any, bool]]:
    """Every setting of a component and of its parts, the component with another value, and whether this
    decides a result."""
    ignored = getattr(component, "performance_only", frozenset())
    for field in fields(component):
        value, decides = getattr(component, field.name), field.name not in ignored
        if not is_dataclass(value):
            changed = alternative(field.name, value, tag_map)
            yield field.name, replace(component, **{field.name: changed}), decides
            continue
        if type(component).__name__ == "Normaliser":
            yield field.name, replace(component, **{field.name: None}), decides
        for name, part, part_decides in variants(value, tag_map):
            changed = replace(component, **{field.name: part})
            yield f"{field.name}.{name}", changed, decides and part_decides


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_each_setting_changes_the_identity_or_is_performance_only(choice: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("raw_tag,tag\na,b\n")
    whole = component(choice)
    identity = json.dumps(identity_of(whole), allow_nan=False)
    wrong = [
        name
        for name, changed, decides in variants(whole, tmp_path / "map.csv")
        if (json.dumps(identity_of(changed)) != identity) is not decides
    ]
    assert wrong == []


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_an_identity_holds_a_kind_and_neither_import_paths_nor_versions(choice: tuple[str, ...]) -> None:
    whole = component(choice)
    identity = identity_of(whole)
    assert identity["kind"]
    text = json.dumps(identity)
    assert "sftdiv" not in text and type(whole).__name__ not in text
    assert not [name for name in libraries_of(whole) if f'"{version(name)}"' in text]


def test_options_of_one_group_have_different_kinds() -> None:
    part = {"strategy/clusterer": "clusterer", "strategy/tagger": "tagger"}
    kinds: dict[str, list[str]] = {}
    for choice in CHOICES:
        group, identity = choice[-1].partition("=")[0], identity_of(component(choice))
        if group != "strategy/normalise" and choice[-1] not in OTHER_NAMES:
            kinds.setdefault(group, []).append(identity[part[group]]["kind"] if group in part else identity["kind"])
    assert sorted(kinds) == ["embedder", "strategy", "strategy/clusterer", "strategy/tagger"]
    for names in kinds.values():
        assert len(set(names)) == len(names)


def test_speed_settings_are_no_part_of_an_identity() -> None:
    llm, local = (component(("strategy=meso_tag", f"strategy/tagger={name}")).tagger for name in ("llm", "instagger"))
    assert llm.performance_only == {"endpoint", "max_failed"}
    assert local.performance_only == {"batch_size", "device", "max_failed"}
    assert replace(local, dtype="float32").identity() != local.identity(), "other weights may give other tags"
    assert replace(local, batch_size=1, device="cuda:1").identity() == local.identity()


def test_settings_without_effect_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("raw_tag,tag\na,b\n")
    tags = replace(component(("strategy=meso_tag",)), tag_map=str(tmp_path / "map.csv"))
    other = replace(tags, normaliser=replace(tags.normaliser, frequency=Frequency(min_texts=3)))
    assert tags.identity() == other.identity(), "a map replaces the normaliser"
    none, single = Stability(seeds=0, sample=5, share=1.0), Stability(seeds=1, sample=7, share=0.5)
    assert none.identity() == single.identity() == {}, "no runs are compared"
    words = {"per_example": 4, "longest": 1, "min_documents": 2, "max_share": 0.1}
    flat, long = (KeyphraseTagger(**words, prefer_long=power) for power in (0.0, 1.0))
    assert flat.identity() == long.identity(), "all phrases have one word"
    assert replace(flat, longest=2).identity() != replace(long, longest=2).identity()
    llm = replace(component(("strategy=meso_tag", "strategy/tagger=llm")).tagger, retries=0)
    assert llm.identity() == replace(llm, retry_temperature=0.1).identity()


def test_result_columns_keep_their_names_and_hold_versions() -> None:
    tagger = KeyphraseTagger(per_example=4, longest=2, min_documents=2, max_share=0.1, prefer_long=0.0)
    settings = {"per_example": 4, "longest": 2, "min_documents": 2, "max_share": 0.1, "prefer_long": 0.0}
    learned = {"scikit-learn": version("scikit-learn")}
    assert result_columns(tagger) == {"name": "keyphrases", **settings, **learned}
    characters = {"shortest": 2, "longest": 4, "dimensions": 8}
    step = Semantic(embedder=CharacterEmbedder(**characters), distance=0.2)
    assert result_columns(step) == {"distance": 0.2, "embedder": {"model": "characters", **characters, **learned}}
    assert result_columns(Frequency(min_texts=3)) == {"min_texts": 3}


IDENTITIES = """
import json, sys
import sftdiv.units.topics, sftdiv.units.tags, sftdiv.units.tokens, sftdiv.units.identity
import sftdiv.embeddings.lsa, sftdiv.embeddings.sentence
from hydra.utils import instantiate
for node in json.loads(sys.argv[1]):
    instantiate(node, _convert_="all").identity()
print(json.dumps(sorted(sys.modules)))
"""


def test_identities_import_nothing_heavy() -> None:
    nodes = json.dumps([node(choice) for choice in CHOICES])
    run = subprocess.run([sys.executable, "-c", IDENTITIES, nodes], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(run.stdout))
