"""Tags from a local model: one that was taught four answers by heart, and one that talks nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sftdiv.records import SftdivError
from sftdiv.units.tagging.instagger import LocalTagger
from sftdiv.units.tagging.tag_answers import text_key

PROMPT = "Name the tags of: {text} Answer:"
TAUGHT = {
    "sum two numbers": ["maths"],
    "a poem about the sea and about all the ships that sail on it": ["poetry", "sea"],
    "sort a list": ["code", "sorting"],
    "hello": [],
}


def answer_of(tags: list[str]) -> str:
    return json.dumps([{"tag": tag, "explanation": "so it says"} for tag in tags])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tiny LLaMAs in the hub's format: as initialised, and after some seconds of learning the four answers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = [f"{PROMPT.replace('{text}', text)} {answer_of(tags)}" for text, tags in TAUGHT.items()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=["</s>"], initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, bos_token_id=None, eos_token_id=0, **shape)
    )
    folders = {name: tmp_path_factory.mktemp(name) for name in ("random", "taught")}
    model.save_pretrained(folders["random"])
    rows = [torch.tensor([tokenizer(text + "</s>")["input_ids"]]) for text in texts]
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        for row in rows:
            model(input_ids=row, labels=row).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folders["taught"])
    for folder in folders.values():
        tokenizer.save_pretrained(folder)
    return folders


def tagger(path: Path | str, **settings: Any) -> LocalTagger:
    fixed: dict[str, Any] = {
        "revision": None,
        "prompt": PROMPT,
        "max_new_tokens": 60,
        "max_prompt_tokens": 100,
        "batch_size": 3,
        "device": "cpu",
        "dtype": "float32",
        "max_failed": 0.0,
    }
    return LocalTagger(path=str(path), **{**fixed, **settings})


def test_a_model_that_knows_the_answers_gives_them_whatever_the_batch(models: dict[str, Path], tmp_path: Path) -> None:
    for batch_size in (1, 3):
        partial = tmp_path / str(batch_size)
        partial.mkdir()
        raw = tagger(models["taught"], batch_size=batch_size).tag(list(TAUGHT), partial)
        assert raw.tags == list(TAUGHT.values())
        assert (raw.record["clean"], raw.record["failed"]) == (4, 0)


def test_nonsense_is_counted_has_no_tags_and_is_an_error_where_it_is_too_much(
    models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(SftdivError, match=r"4 of 4 texts have no parsable answer.*max_failed=0 "):
        tagger(models["random"], max_new_tokens=5).tag(list(TAUGHT), tmp_path)
    raw = tagger("no/such-model", max_failed=1.0).tag(
        list(TAUGHT), tmp_path
    )  # all answers are there: nothing is loaded
    assert raw.tags == [[], [], [], []]
    assert raw.record["failed"] == 4


def test_it_goes_on_where_it_stopped(models: dict[str, Path], tmp_path: Path) -> None:
    done = {"key": text_key("hello"), "answer": '["greeting"]', "state": "clean"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(done) + "\n")
    raw = tagger(models["taught"]).tag(list(TAUGHT), tmp_path)
    assert raw.tags == [*list(TAUGHT.values())[:3], ["greeting"]]
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 4


def test_a_long_text_is_cut_and_the_question_around_it_is_not(models: dict[str, Path]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models["random"])
    ids = tagger("", max_prompt_tokens=40)._prompt_ids(tokenizer, "sea " * 500)
    text = tokenizer.decode(ids)
    assert 30 < len(ids) <= 40
    assert text.startswith("Name the tags of: sea sea") and text.endswith(" Answer:")
    with pytest.raises(SftdivError, match="more than max_prompt_tokens=3"):
        tagger("", max_prompt_tokens=3)._prompt_ids(tokenizer, "sea")


def test_identity_follows_the_files_not_the_place_or_the_speed(models: dict[str, Path], tmp_path: Path) -> None:
    here = tagger(models["random"]).identity()
    for file in models["random"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert tagger(tmp_path, batch_size=7, device="cuda").identity() == here
    assert tagger(models["taught"]).identity() != here
    assert tagger("org/model", revision="v1").identity()["revision"] == "v1"


def test_a_model_that_is_not_there_says_what_may_be(tmp_path: Path) -> None:
    with pytest.raises(SftdivError, match=r"units\.tagger\.path='/no/model' cannot be loaded.*keyphrase"):
        tagger("/no/model").tag(["a"], tmp_path)
    with pytest.raises(SftdivError, match=r"prompt must contain \{text\} exactly once"):
        tagger("m", prompt="no place")
