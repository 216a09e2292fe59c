"""Damaged and foreign model folders are one clear error, and no code of theirs runs."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_models import tiny_base

from sftdiv.modeling.checkpoint import load_config, load_meta_model, load_model, load_tokenizer
from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import DIGESTS
from sftdiv.storage.hashing import file_digest
from sftdiv.units.encoding import encode

FILES = [
    ".digests.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
LOADERS = [load_config, load_tokenizer, load_meta_model, lambda folder: load_model(folder, dtype="auto")]


@pytest.fixture
def model(tmp_path):
    """A whole model folder with its tokenizer, from elsewhere: without digests."""
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "model"))
    (folder / DIGESTS).unlink()
    return folder


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


@pytest.mark.parametrize("place", [0, 0.3, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_of_a_saved_model_is_named_when_the_model_is_loaded(tmp_path, name, place):
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "model"))
    assert sorted(path.name for path in folder.iterdir()) == FILES
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 2  # JSON stays JSON in most places, and a weight a number
    (folder / name).write_bytes(data)
    with pytest.raises(SftdivError, match=rf"model is damaged: {name} changed .* remove .*{DIGESTS}"):
        load_model(folder, dtype="auto")
    (folder / DIGESTS).unlink()  # the way out, where the change is meant
    if name == "model.safetensors" and place > 0.5:
        load_model(folder, dtype="auto")


def test_weights_are_not_hashed_for_a_tokenizer_and_only_once_for_a_model(tmp_path, monkeypatch):
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "model"))
    hashed = []

    def counted(path):
        hashed.append(path.name)
        return file_digest(path)

    monkeypatch.setattr("sftdiv.storage.file_digests.file_digest", counted)
    load_tokenizer(folder)
    assert hashed and "model.safetensors" not in hashed
    for _ in range(2):
        load_model(folder, dtype="auto")
    assert hashed.count("model.safetensors") == 1 == hashed.count("tokenizer.json")
