"""Training on models that fit in a thimble: the plan of the steps, the loss, the schedule, determinism, and
what is left on the disk."""

import json
import os

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiny_models import FACTS, NAMES, SHAPE, TALKS, fine_tuning, pretrain, ref, tiny_base
from torch.nn import functional
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, Qwen3Config

from sftdiv.config.app import conf_dir
from sftdiv.modeling.chat_labels import IGNORED, Labelled, label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer, save_checkpoint
from sftdiv.modeling.loss import pad_batch, token_losses
from sftdiv.records import SftdivError
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.batching.batches import StepDataset, plan_steps
from sftdiv.training.batching.packing import lay_out, pack_rows
from sftdiv.training.config import TrainerConfig
from sftdiv.training.fine_tune import fine_tune
from sftdiv.training.module import learning_rate_share
from sftdiv.training.pretrain import make_model, pack

OTHER = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
OTHER |= {"num_attention_heads": 2, "num_key_value_heads": 1}


@pytest.fixture(scope="module")
def base():
    """A base model that has read four sentences for five steps."""
    return tiny_base()


def weights(folder):
    return load_model(folder, dtype=torch.float32).state_dict()


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def labelled(length):
    ids = np.arange(length, dtype=np.int64) % 7
    return Labelled(ids, np.where(np.arange(length) >= length // 2, ids, IGNORED), truncated=False)


# the plan of the steps


def test_a_plan_of_one_window_sorts_by_length_and_cuts_it_into_steps():
    plan = plan_steps([5, 1, 4, 2, 3, 6, 7], epochs=1, batch_size=4, rng=np.random.default_rng(0))
    assert sorted(step.tolist() for step in plan) == [[0, 5, 6], [1, 3, 4, 2]]


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=300),
    epochs=st.integers(1, 3),
    size=st.integers(1, 20),
    micro_batch=st.integers(1, 7),
    ranks=st.integers(1, 3),
    packed=st.booleans(),
)
def test_every_example_comes_once_an_epoch_however_steps_are_laid_out(
    lengths, epochs, size, micro_batch, ranks, packed
):
    plan = plan_steps(lengths, epochs=epochs, batch_size=size, rng=np.random.default_rng(1))
    assert np.bincount(np.concatenate(plan)).tolist() == [epochs] * len(lengths)
    layouts = [
        lay_out(step.tolist(), np.array(lengths), micro_batch=micro_batch, ranks=ranks, capacity=90 if packed else None)
        for step in plan
    ]
    for step, layout in zip(plan, layouts, strict=True):
        assert sorted(i for batches in layout for rows in batches for row in rows for i in row) == sorted(step.tolist())
        assert len({len(batches) for batches in layout}) == 1  # all ranks compute as often
        assert max(len(rows) for batches in layout for rows in batches) <= micro_batch
        assert max(sum(lengths[i] for i in row) for batches in layout for rows in batches for row in rows) <= 90
        assert packed or all(len(row) == 1 for batches in layout for rows in batches for row in rows)


def test_steps_instead_of_epochs():
    plan = plan_steps([3] * 10, epochs=1, batch_size=4, steps=7, rng=np.random.default_rng(0))
    assert len(plan) == 7
    assert np.bincount(np.concatenate(plan[:6])).tolist() == [2] * 10


def test_like_lengths_leave_little_padding_and_the_order_is_the_seeds():
    lengths = np.random.default_rng(0).lognormal(3.5, 0.6, 2000).astype(int) + 1
    plans = [plan_steps(lengths, epochs=2, batch_size=16, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    positions = sum(len(step) * lengths[step].max() for step in plans[0])
    assert 1 - 2 * lengths.sum() / positions < 0.05  # 59 % in an order that does not look at lengths
    first, again, other = ([step.tolist() for step in plan] for plan in plans)
    assert first == again != other
    assert first[:125] != first[125:]


def test_rows_are_packed_and_then_made_even():
    lengths = np.array([6, 5, 4, 3, 2])
    assert pack_rows(range(5), lengths, capacity=11) == [[0, 3, 4], [1, 2]]  # 11 and 9 tokens
    assert pack_rows(range(5), lengths, capacity=10) == [[0, 2], [1, 3, 4]]  # dealt as above they would be too long


def test_a_step_counts_the_labels_of_all_its_micro_batches():
    steps = StepDataset([labelled(4), labelled(6), labelled(9)], "abc", [np.array([0, 1, 2])], pad_id=99, micro_batch=2)
    (short, long), label_tokens, lengths = steps[0]
    assert (short.names, long.names, label_tokens, lengths.tolist()) == (["a"], ["b", "c"], 2 + 3 + 5, [4, 6, 9])
    assert long.input_ids.tolist() == [[0, 1, 2, 3, 4, 5, 99, 99, 99], [0, 1, 2, 3, 4, 5, 6, 0, 1]]
    assert long.labels.tolist() == [
        [-100, -100, -100, 3, 4, 5, -100, -100, -100],
        [-100, -100, -100, -100, 4, 5, 6, 0, 1],
    ]
    assert long.position_ids is None


def test_packed_rows_begin_their_positions_anew_and_learn_no_first_token():
    steps = StepDataset(
        [labelled(1), labelled(2), labelled(4)], "abc", [np.array([0, 1, 2])], pad_id=99, micro_batch=2, capacity=5
    )
    (batch,), label_tokens, _ = steps[0]
    assert batch.lengths == [[2, 1], [4]]
    assert batch.input_ids.tolist() == [[0, 1, 0, 99], [0, 1, 2, 3]]
    assert batch.position_ids.tolist() == [[0, 1, 0, 0], [0, 1, 2, 3]]
    assert batch.labels.tolist() == [[-100, 1, -100, -100], [-100, -100, 2, 3]]
    assert label_tokens == 0 + 1 + 2


# the loss and the schedule


def test_token_losses_are_the_cross_entropy_of_the_full_logits(base):
    model, tokenizer = load_model(base, dtype=torch.float32), load_tokenizer(base)
    input_ids, labels = pad_batch(
        label_conversations(tokenizer, TALKS[:4], max_length=64), pad_id=tokenizer.pad_token_id
    )
    logits = model(input_ids=input_ids, attention_mask=(input_ids != tokenizer.pad_token_id).long()).logits[:, :-1]
    full = functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none", ignore_index=IGNORED
    )
    torch.testing.assert_close(token_losses(model, input_ids, labels), full[labels[:, 1:].flatten() != IGNORED])


@pytest.mark.parametrize(
    "config",
    [GPT2Config(n_embd=16, n_layer=1, n_head=2), Qwen3Config(**OTHER), Gemma2Config(**OTHER)],
    ids=lambda config: config.model_type,
)
def test_token_losses_hold_for_other_architectures(config):
    model = AutoModelForCausalLM.from_config(config).eval()
    input_ids, labels = pad_batch([labelled(5), labelled(8)], pad_id=1)
    full = model(input_ids=input_ids).logits[:, :-1].flatten(0, 1).float()
    expected = functional.cross_entropy(full, labels[:, 1:].flatten(), reduction="none", ignore_index=IGNORED)
    torch.testing.assert_close(token_losses(model, input_ids, labels), expected[labels[:, 1:].flatten() != IGNORED])


def test_the_learning_rate_rises_then_falls_as_half_a_cosine():
    shares = [learning_rate_share(step, steps=12, warmup=1 / 3) for step in range(13)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4] == 1.0
    assert shares[8] == pytest.approx(0.5)
    assert shares[12] == pytest.approx(0.0)
    assert learning_rate_share(0, steps=1, warmup=0.0) == 1.0


def test_micro_batches_do_not_change_what_is_learned(base, tmp_path):
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "whole", **fine_tuning())
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "parts", **fine_tuning(micro_batch=1))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], atol=1e-4, rtol=1e-4)


# whole trainings


class Notebook:
    """A tracker that remembers."""

    def __init__(self):
        self.pages = []

    def log(self, metrics, step):
        self.pages.append((step, metrics))


def test_fine_tuning_learns_and_records_what_it_did(base, tmp_path):
    tracker = Notebook()
    record = fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(epochs=20), tracker=tracker)
    examples = label_conversations(load_tokenizer(base), TALKS, max_length=64)
    assert (record.steps, record.truncated, record.dropped) == (60, 0, 0)
    assert record.tokens == 20 * sum(map(len, examples))
    assert record.label_tokens == 20 * sum(example.label_tokens for example in examples)
    assert 0 <= record.padding < 0.2
    assert [step for step, _ in tracker.pages] == list(range(60))
    assert tracker.pages[0][1]["train.loss"] > 2 * record.loss
    told = {"loss", "learning_rate", "gradient_norm", "tokens_per_second", "mfu"}
    assert set(tracker.pages[0][1]) == {f"train.{name}" for name in told}
    assert json.loads((tmp_path / "model" / "train.json").read_text())["losses"] == record.losses


def test_same_seed_same_weights_to_the_bit(base, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / name, **fine_tuning(seed=seed))
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not equal(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_on_a_machine_of_slurm_nothing_advises_to_start_by_srun(base, tmp_path, monkeypatch):
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning())  # a warning is an error in tests


def test_same_seed_same_base_and_global_random_state_is_left_alone(base, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretrain(base.parent / "tokenizer", tmp_path / "again")
    assert torch.equal(torch.rand(3), expected)
    pretrain(base.parent / "tokenizer", tmp_path / "other", seed=1)
    assert equal(weights(base), weights(tmp_path / "again"))
    assert not equal(weights(base), weights(tmp_path / "other"))


def test_nothing_but_the_model_folder_is_left(base, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "preview.txt"]
    assert {"config.json", "train.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }
    assert "Trainer" not in "".join(capfd.readouterr())


def test_an_interrupted_save_leaves_the_old_model(base, tmp_path):
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning())
    before, tokenizer = weights(tmp_path / "model"), load_tokenizer(base)

    class Interrupted:
        def save_pretrained(self, folder):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(make_model(SHAPE, tokenizer, seed=3), Interrupted(), tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "preview.txt"]
    assert equal(weights(tmp_path / "model"), before)


def test_no_label_left_is_an_error_before_training(base, tmp_path):
    with pytest.raises(SftdivError, match="none of 2 conversations has a label token"):
        fine_tune(ref(base), [TALKS[0][:1], TALKS[1][:1]], NAMES[:2], tmp_path / "model", **fine_tuning())
    assert not list(tmp_path.iterdir())


def test_conversations_without_response_are_counted_not_trained_on(base, tmp_path):
    assert (
        fine_tune(ref(base), [*TALKS, TALKS[0][:1]], [*NAMES, "mute"], tmp_path / "model", **fine_tuning()).dropped == 1
    )


def test_a_loss_that_is_not_a_number_names_the_examples(base, tmp_path):
    model, tokenizer = load_model(base, dtype=torch.float32), load_tokenizer(base)
    model.model.norm.weight.data[:] = float("nan")
    save_checkpoint(model, tokenizer, tmp_path / "broken")
    with pytest.raises(
        SftdivError, match=r"the loss is nan at step 0 on the examples talk-\d+, talk-\d+, talk-\d+, talk-\d+$"
    ):
        fine_tune(ref(tmp_path / "broken"), TALKS, NAMES, tmp_path / "model", **fine_tuning())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("name", "millions"), [("tiny", 0.4), ("scratch_3m", 3.2), ("scratch_30m", 30.4)])
def test_scratch_models_have_the_parameters_that_they_say(base, name, millions):
    architecture = instantiate(OmegaConf.load(conf_dir() / "model" / f"{name}.yaml").architecture)
    model = make_model(architecture, load_tokenizer(base), seed=0)
    assert (model.num_parameters() - model.get_input_embeddings().weight.numel()) / 1e6 == pytest.approx(
        millions, abs=0.05
    )


def test_packing_wastes_nothing_and_ends_every_text(base):
    tokenizer = load_tokenizer(base)
    rows = pack(FACTS, tokenizer, rows=6, context=10, rng=np.random.default_rng(0))
    text = tokenizer.decode(rows.ravel())
    assert rows.shape == (6, 10)
    assert all(piece in FACTS for piece in text.split("<|eos|>")[:-1])
    assert set(text.split("<|eos|>")[:4]) == set(FACTS)
    with pytest.raises(SftdivError, match="no text to pretrain the base model on"):
        pack([], tokenizer, rows=1, context=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "tpu"}, r"trainer.accelerator='tpu' is unknown\. Did you mean 'gpu'\? Known: auto, cpu, gpu"),
        ({"precision": "fp8"}, "trainer.precision='fp8' is unknown. Known: auto, 32-true"),
        ({"precision": "bf16-mixed"}, "20 times slower than 32-true on a CPU"),
    ],
)
def test_hardware_that_cannot_be_right_is_refused(change, message):
    with pytest.raises(SftdivError, match=message):
        TrainerConfig(**{"accelerator": "cpu", "devices": 1, "precision": "32-true", "threads": None} | change)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(SftdivError, match=r"width=30 does not divide into .*heads=4"):
        ArchitectureConfig(width=30, layers=1, heads=4, mlp_width=8, positions=8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(base, tmp_path):
    gpu = TrainerConfig(accelerator="gpu", devices=1, precision="bf16-mixed", threads=None)
    with pytest.raises(SftdivError, match="torch finds no GPU here; use trainer=cpu"):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(trainer=gpu))
