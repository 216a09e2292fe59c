"""Damaged and foreign model folders are one clear error, and no code of theirs runs."""

import json
import shutil

import pytest
from tiny_models import tiny_base

from sftdiv.modeling.checkpoint import load_config, load_meta_model, load_model, load_tokenizer
from sftdiv.records import SftdivError
from sftdiv.units.encoding import encode

LOADERS = [load_config, load_tokenizer, load_meta_model, lambda folder: load_model(folder, dtype="auto")]


@pytest.fixture
def model(tmp_path):
    """A whole model folder with its tokenizer."""
    return shutil.copytree(tiny_base(), tmp_path / "model")


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def empty(path):
    path.write_bytes(b"")


def page(path):
    path.write_text("<html>")


@pytest.mark.parametrize("damage", [cut, empty, page])
@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("config.json", load_config),
        ("model.safetensors", LOADERS[3]),
        ("tokenizer.json", load_tokenizer),
        ("tokenizer_config.json", load_tokenizer),
        ("generation_config.json", LOADERS[3]),
    ],
)
def test_a_damaged_file_is_one_clear_error(model, damage, name, load):
    before = (model / name).read_bytes()
    damage(model / name)
    if (model / name).read_bytes() == before:
        pytest.skip("shorter than the cut")
    with pytest.raises(SftdivError, match=r"cannot load .*model'"):
        load(model)


@pytest.mark.parametrize("load", [load_config, load_meta_model, LOADERS[3]])
def test_a_model_with_code_of_its_own_is_refused_without_a_question(model, load, monkeypatch):
    (model / "evil.py").write_text("raise SystemExit('ran')")
    config = json.loads((model / "config.json").read_text())
    own = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (model / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": own}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    with pytest.raises(SftdivError, match="has model code of its own, which sftdiv does not run"):
        load(model)


def test_a_damaged_tokenizer_of_the_units_is_one_clear_error(model):
    page(model / "tokenizer.json")
    with pytest.raises(SftdivError, match="cannot be loaded"):
        encode(["a"], str(model))
