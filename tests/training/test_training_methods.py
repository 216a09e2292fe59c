"""What else a training can be told: adapters, memory for time, noise, schedules, validation, and what it
leaves behind."""

import json
import stat
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tiny_models import ADAM, CPU, NAMES, TALKS, fine_tuning, ref, tiny_base
from transformers import AutoModelForCausalLM, AutoTokenizer

from sftdiv.modeling.chat_labels import label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.generate import generate
from sftdiv.modeling.loss import pad_batch, token_losses
from sftdiv.records import SftdivError
from sftdiv.training import merge as merging
from sftdiv.training.adapters import add_adapter
from sftdiv.training.callbacks.neftune import EmbeddingNoise
from sftdiv.training.config import AdapterConfig, OptimizerConfig
from sftdiv.training.fine_tune import fine_tune
from sftdiv.training.module import learning_rate_share
from sftdiv.training.resources.micro_batch import probe_micro_batch

LORA = AdapterConfig(rank=4, alpha=8, dropout=0.0, targets="all-linear", quantize=None, merge=True)


@pytest.fixture(scope="module")
def base():
    """A base model that has read four sentences for five steps."""
    return tiny_base()


def loss_of(folder):
    model, tokenizer = load_model(folder, dtype=torch.float32), load_tokenizer(folder)
    return (
        token_losses(model, *pad_batch(label_conversations(tokenizer, TALKS, max_length=64), tokenizer.pad_token_id))
        .mean()
        .item()
    )


def weights(folder):
    return load_model(folder, dtype=torch.float32).state_dict()


# adapters


@pytest.mark.parametrize("quantize", [None, "nf4"], ids=["lora", "qlora"])
def test_an_adapter_learns_and_gives_the_same_answers_merged_and_alone(base, tmp_path, quantize):
    if quantize:
        pytest.importorskip("bitsandbytes")
    for merge in (True, False):
        settings = fine_tuning(epochs=60, learning_rate=0.03, adapter=replace(LORA, quantize=quantize, merge=merge))
        record = fine_tune(ref(base), TALKS, NAMES, tmp_path / f"merge-{merge}", **settings)
    assert record.trained_parameters == 2 * 4 * (
        4 * (16 + 16) + 3 * (16 + 32)
    )  # two layers, rank 4, seven matrices each
    assert record.loss < 0.97 * record.losses[0]  # what little can be learned over embeddings that are noise
    assert loss_of(tmp_path / "merge-True") == pytest.approx(loss_of(tmp_path / "merge-False"), rel=1e-4)
    assert not (tmp_path / "merge-True" / "adapter_config.json").exists()
    assert (tmp_path / "merge-False" / "adapter_model.safetensors").exists()
    answers = [
        generate(tmp_path / f"merge-{m}", [TALKS[0][:1]], max_new_tokens=30, max_length=64, device="cpu")
        for m in (True, False)
    ]
    assert answers[0] == answers[1]
    ends = {load_model(tmp_path / f"merge-{m}", dtype="auto").generation_config.eos_token_id for m in (True, False)}
    assert ends == {load_tokenizer(base).eos_token_id}


def test_an_adapter_begins_as_the_base_and_its_targets_are_checked(base, tmp_path):
    record = fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(adapter=LORA, steps=1))
    assert record.losses[0] == pytest.approx(
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "whole", **fine_tuning(steps=1)).losses[0], rel=1e-5
    )
    with pytest.raises(SftdivError, match=r"targets=\['wrong'\] match no module; the model has: all-linear, .*q_proj"):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(adapter=replace(LORA, targets=["wrong"])))


@pytest.mark.parametrize(
    "targets", [["lm_head", "q_proj"], ["embed_tokens", "q_proj"], ["lm_head", "embed_tokens"]], ids=str
)
def test_a_merged_adapter_of_tied_embeddings_equals_the_unmerged_one(base, tmp_path, targets):
    assert load_model(base, dtype="auto").config.tie_word_embeddings
    for merge in (True, False):
        adapter = replace(LORA, targets=targets, merge=merge)
        settings = fine_tuning(epochs=20, learning_rate=0.03, adapter=adapter)
        fine_tune(ref(base), TALKS, NAMES, tmp_path / f"merge-{merge}", **settings)
    merged_loss, unmerged_loss = loss_of(tmp_path / "merge-True"), loss_of(tmp_path / "merge-False")
    assert merged_loss == pytest.approx(unmerged_loss, rel=1e-4)
    assert abs(merged_loss - loss_of(base)) > 0.01  # the adapter changes something
    model = load_model(tmp_path / "merge-True", dtype="auto")
    assert not model.config.tie_word_embeddings
    assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)


def test_a_merge_that_changes_the_model_is_refused(base, monkeypatch):
    model = add_adapter(load_model(base, dtype="auto"), replace(LORA, targets=["lm_head"]), seed=0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    monkeypatch.setattr(merging, "untie_adapted", lambda adapted: None)
    with pytest.raises(SftdivError, match=r"merging the adapter changes the model: .* train\.adapter\.merge=false"):
        merging.merge_checked(model)


# time for memory, precision, noise, schedules


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"attention": "eager"}], ids=str)
def test_what_saves_memory_changes_no_weight(base, tmp_path, change):
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "plain", **fine_tuning())
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "other", **fine_tuning(**change))
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "other")
    for name in plain:
        torch.testing.assert_close(plain[name], other[name], atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # the compiler's own, of torch.jit and of gradients
def test_a_compiled_model_learns_the_same(base, tmp_path, monkeypatch):
    """The graph that the compiler takes from the model, run without the minute in which C++ is made of it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    compare_compiled(base, tmp_path)


@pytest.mark.nightly  # the same with the real backend, which compiles for a minute
@pytest.mark.filterwarnings("ignore")
def test_a_model_compiled_to_machine_code_learns_the_same(base, tmp_path):
    compare_compiled(base, tmp_path)


def compare_compiled(base, folder):
    plain = fine_tune(ref(base), TALKS, NAMES, folder / "plain", **fine_tuning())
    compiled = fine_tune(ref(base), TALKS, NAMES, folder / "compiled", **fine_tuning(compile=True))
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert loss_of(folder / "compiled") == pytest.approx(loss_of(folder / "plain"), rel=1e-4)


def test_an_8_bit_optimizer_learns(base, tmp_path):
    pytest.importorskip("bitsandbytes")
    record = fine_tune(
        ref(base),
        TALKS,
        NAMES,
        tmp_path / "model",
        **fine_tuning(epochs=10, optimizer=OptimizerConfig(**ADAM, name="adamw_8bit")),
    )
    assert record.losses[-1] < 0.8 * record.losses[0]


def test_noise_is_scaled_by_the_length_of_each_example_and_absent_in_evaluation():
    embedding = torch.nn.Embedding(10, 4)
    noise = EmbeddingNoise(embedding, alpha=6.0)
    noise.lengths = [[9, 1]]
    ids = torch.arange(10).unsqueeze(0)
    added = torch.stack([embedding(ids) - embedding.weight for _ in range(500)]).detach().abs()
    assert added[:, :, :9].max() == pytest.approx(6 / np.sqrt(9 * 4), rel=0.01)
    assert added[:, :, 9].max() == pytest.approx(6 / np.sqrt(1 * 4), rel=0.01)
    torch.testing.assert_close(embedding.eval()(ids)[0], embedding.weight)


def test_noise_changes_what_is_learned_and_is_the_seeds(base, tmp_path):
    losses = [
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "m", **fine_tuning(neftune=alpha)).losses
        for alpha in (0.0, 5.0, 5.0)
    ]
    assert losses[1] == losses[2] != losses[0]


def test_schedules_by_hand():
    shares = {
        name: [learning_rate_share(step, steps=6, warmup=1 / 3, schedule=name) for step in range(7)]
        for name in ("linear", "constant")
    }
    assert shares["linear"] == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25, 0])
    assert shares["constant"] == [0.5, 1, 1, 1, 1, 1, 1]


# validation


def test_validation_takes_whole_groups_and_ends_with_the_best_weights(base, tmp_path):
    groups = [str(number // 4) for number in range(12)]
    record = fine_tune(
        ref(base),
        TALKS,
        NAMES,
        tmp_path / "model",
        groups=groups,
        **fine_tuning(validation=0.3, validate_every=0.5, epochs=3),
    )
    assert record.validated == 4  # of three groups of four one
    assert [step for step, _ in record.validation] == [1, 2, 3, 4, 5, 6]
    settings = fine_tuning(
        validation=0.3, validate_every=0.5, epochs=50, learning_rate=0.3, patience=2
    )  # too fast: it gets worse again
    stopped = fine_tune(ref(base), TALKS, NAMES, tmp_path / "stopped", groups=groups, **settings)
    losses = [loss for _, loss in stopped.validation]
    assert stopped.steps == len(losses) < 100
    assert losses.index(min(losses)) == len(losses) - 3
    held = [talk for talk, group in zip(TALKS, groups, strict=True) if group == held_group(base, groups)]
    tokenizer, model = load_tokenizer(tmp_path / "stopped"), load_model(tmp_path / "stopped", dtype=torch.float32)
    labelled = label_conversations(tokenizer, held, max_length=64)
    assert token_losses(model, *pad_batch(labelled, tokenizer.pad_token_id)).mean().item() == pytest.approx(
        min(losses), rel=1e-5
    )


def held_group(base, groups):
    """The group that validates, as the seed decides."""
    from sftdiv.training.batching.conversations import tokenize_conversations

    data = fine_tuning(validation=0.3)["config"].data
    split = tokenize_conversations(load_tokenizer(base), TALKS, NAMES, groups, data=data, vocabulary=300, seed=0)
    return {groups[NAMES.index(name)] for name in split.validation.names}.pop()


# memory


class Hungry(torch.nn.Module):
    """Passes on what a model does, until too many rows come at once."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.most = model, most

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def forward(self, input_ids, **others):
        if len(input_ids) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model(input_ids=input_ids, **others)


def test_a_micro_batch_is_halved_until_it_passes(base):
    from sftdiv.training.batching.batches import StepDataset

    examples = label_conversations(load_tokenizer(base), TALKS, max_length=64)
    steps = StepDataset(examples, NAMES, [np.arange(12)], pad_id=0, micro_batch=12)
    model = load_model(base, dtype=torch.float32).train()
    assert probe_micro_batch(Hungry(model, 4), steps.longest_batch, rows=12, trainer=CPU) == 3
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(SftdivError, match=r"not even one conversation of \d+ tokens fits: CUDA out of memory"):
        probe_micro_batch(Hungry(model, 0), steps.longest_batch, rows=12, trainer=CPU)


def test_out_of_memory_names_what_helps(base, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sftdiv.training.module.token_losses", lambda model, ids, *others: Hungry(model, 2)(ids).logits.flatten()
    )
    with pytest.raises(
        SftdivError, match=r"CUDA out of memory.*train\.batch=auto.*gradient_checkpointing=true.*train=lora"
    ):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning())


def test_the_micro_batch_may_be_left_to_the_estimate_and_keeps_the_step(base, tmp_path):
    by_hand = fine_tune(ref(base), TALKS, NAMES, tmp_path / "by_hand", **fine_tuning())
    auto = fine_tune(ref(base), TALKS, NAMES, tmp_path / "auto", **fine_tuning(micro_batch="auto"))
    assert auto.how["micro_batch"] == 4  # all of the step, where memory is plenty
    assert auto.losses == by_hand.losses
    assert auto.how["memory"].startswith("memory per device in GiB: parameters 0.0")


# what is left behind


def test_the_folder_loads_in_plain_transformers_and_stops(base, tmp_path):
    record = fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(epochs=150))
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "model"),
        AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    prompt = tokenizer.apply_chat_template(
        TALKS[0][:1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "the cat says meow<|eos|>"
    said = json.loads((tmp_path / "model" / "train.json").read_text())
    assert said["steps"] == record.steps == len(said["losses"]) == 450
    assert said["tokens_per_second"] > 0 and 0 < said["mfu"] < 1 and said["peak_memory_gib"] > 0
    assert stat.S_IMODE((tmp_path / "model" / "model.safetensors").stat().st_mode) == 0o644


def test_a_preview_marks_what_is_learned(base, tmp_path):
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning())
    assert "<|user|>the cat<|assistant|>⟦the cat says meow<|eos|>⟧" in (tmp_path / "preview.txt").read_text()
