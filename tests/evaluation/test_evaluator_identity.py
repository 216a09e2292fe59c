"""The identity of every evaluator: each setting changes it or is listed as performance-only; files count by content."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from sftdiv.config.app import conf_dir
from sftdiv.evaluation.judge.baseline import baseline_identity
from sftdiv.storage.hashing import identity_of, libraries_of

JUDGE = ["judge.endpoint.base_url=http://localhost:1/v1", "judge.model=a"]
HEAVY = {"torch", "transformers", "lm_eval", "datasets", "pytorch_lightning", "vllm", "aiohttp"}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


CHOICES = {name: [f"eval={name}"] for name in options("eval") if name not in ("none", "judge", "custom")}
CHOICES["custom"] = ["eval=custom", "eval.tasks=[mine]"]
CHOICES |= {f"judge={name}": ["eval=judge", f"judge={name}", *JUDGE] for name in options("judge")}
CHOICES |= {f"prompts={name}": ["eval=judge", f"prompts={name}", *JUDGE] for name in options("prompts")}
CHOICES["prompts=files"].append("prompts.files.path=mine.jsonl")


def evaluator_of(composed: Callable[..., Any], *overrides: str) -> Any:
    (node,) = (node for node in composed(*overrides).eval.values() if OmegaConf.is_dict(node) and "_target_" in node)
    return instantiate(OmegaConf.to_container(node, resolve=True), _convert_="all")


def other_value(value: Any) -> Any:
    """A value of the same kind that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "another"]
    if isinstance(value, Mapping):
        return {**value, "another": 0.5}
    return f"{value}-another"


def changes(component: Any, name: str = "", *, inert: bool = False) -> Iterator[tuple[str, bool, Any]]:
    """Copies of a component that differ in one setting, at any depth: its name, and whether it is performance-only."""
    performance_only = getattr(component, "performance_only", frozenset())
    assert performance_only <= {field.name for field in fields(component)}
    for field in fields(component):
        value = getattr(component, field.name)
        field_inert = inert or field.name in performance_only
        for part, part_inert, changed in changed_values(value, f"{name}.{field.name}", inert=field_inert):
            copied = copy.copy(component)
            object.__setattr__(copied, field.name, changed)  # past the checks, which know only values that exist
            yield part, part_inert, copied


def changed_values(value: Any, name: str, *, inert: bool) -> Iterator[tuple[str, bool, Any]]:
    """The same for the value of a field: a component, a mapping of components, or a plain value."""
    if is_dataclass(value):
        yield from changes(value, name, inert=inert)
    elif isinstance(value, Mapping) and value and all(is_dataclass(part) for part in value.values()):
        for key, part in value.items():
            for part_name, part_inert, changed in changes(part, f"{name}.{key}", inert=inert):
                yield part_name, part_inert, {**value, key: changed}
    else:
        yield name, inert, other_value(value)


@pytest.mark.parametrize("choice", CHOICES)
def test_each_setting_changes_the_identity_or_is_performance_only(
    composed: Callable[..., Any], choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluator = evaluator_of(composed, *CHOICES[choice])
    identity = evaluator.identity()
    names = set()
    for name, performance_only, changed in changes(evaluator):
        assert (changed.identity() == identity) == performance_only, name
        names.add((name.rpartition(".")[2], performance_only))
    assert ("higher_is_better", False) in names
    assert names >= ({("base_url", True), ("model", False), ("max_calls", True)} if "=" in choice else set())


@pytest.mark.parametrize("choice", CHOICES)
def test_an_identity_is_json_without_import_paths_and_library_versions(
    composed: Callable[..., Any], choice: str
) -> None:
    evaluator = evaluator_of(composed, *CHOICES[choice])
    text = json.dumps(identity_of(evaluator), allow_nan=False)
    assert identity_of(evaluator) == evaluator.identity() == json.loads(text)
    assert not [word for word in ("_target_", "sftdiv.", "localhost", "version") if word in text]
    assert {"torch", "transformers"} <= libraries_of(evaluator)


def test_kinds_tell_apart_what_can_stand_in_one_place(composed: Callable[..., Any]) -> None:
    kinds = {evaluator_of(composed, *overrides).identity()["kind"] for overrides in CHOICES.values()}
    assert kinds == {"lm_eval", "heldout_loss", "judge"}


def test_files_count_by_content_and_not_by_path(composed: Callable[..., Any], tmp_path: Path) -> None:
    def identities(folder: str, text: str) -> tuple[Any, Any]:
        path = tmp_path / folder / "tasks" / f"mine-{'x'}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        tasks = evaluator_of(composed, "eval=custom", "eval.tasks=[mine]", f"eval.include_path={path.parent}")
        prompts = evaluator_of(composed, "eval=judge", "prompts=files", f"prompts.files.path={path}", *JUDGE)
        return tasks.identity(), prompts.identity()

    one, moved, edited = identities("a", "one"), identities("b", "one"), identities("c", "two")
    assert one == moved
    assert one[0] != edited[0] and one[1] != edited[1]
    assert str(tmp_path) not in json.dumps(one)


def test_a_baseline_is_a_word_or_the_content_of_a_file_or_a_cells_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("base", "reference", "level:0.5", "random-*")
    for folder in ("base", "reference", "finished-cell"):
        (tmp_path / folder).mkdir()
    assert [baseline_identity(word) for word in (*words, "finished-cell")] == [*words, "finished-cell"]
    for name in ("outputs.json", "copy.json"):
        (tmp_path / name).write_text("[]")
    assert baseline_identity("outputs.json") == baseline_identity(str(tmp_path / "copy.json")) != "outputs.json"
    model = tmp_path / "finished-cell" / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    named = baseline_identity("finished-cell")
    (tmp_path / "finished-cell" / "log.txt").write_text("another line")
    assert baseline_identity(str(tmp_path / "finished-cell")) == named != "finished-cell"
    (model / "config.json").write_text('{"a": 1}')
    assert baseline_identity("finished-cell") != named


SCRIPT = """
import sys
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sftdiv.config.app import conf_dir, register_resolvers
register_resolvers()
with initialize_config_dir(str(conf_dir()), version_base="1.3"):
    config = compose("config", overrides=sys.argv[1:])
for node in config.eval.values():
    if OmegaConf.is_dict(node) and "_target_" in node:
        print(instantiate(OmegaConf.to_container(node, resolve=True), _convert_="all").identity()["kind"])
print(" ".join(sys.modules))
"""


def test_an_identity_needs_no_heavy_library() -> None:
    overrides = ["eval=[embedded,heldout,judge]", "prompts=[heldout,alpaca_eval]", *JUDGE]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *overrides], capture_output=True, text=True, check=True)
    *kinds, modules = done.stdout.splitlines()
    assert kinds == ["lm_eval", "heldout_loss", "judge"]
    assert not HEAVY & set(modules.split())
