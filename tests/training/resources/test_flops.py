"""The arithmetic of a training: what is counted equals what torch counts, and padding, recomputation and
frozen weights do not count."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen3Config

from sftdiv.training.callbacks.training_progress import ThroughputMeter
from sftdiv.training.resources.flops import ModelFlops, model_flops, peak_flops
from sftdiv.training.summary import row

ROWS, LENGTH, LABELS = 2, 48, 16
ENDS = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
WIDE = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = [
    LlamaConfig(vocab_size=97, tie_word_embeddings=False, **WIDE, **ENDS),
    GPT2Config(vocab_size=97, n_embd=64, n_layer=3, n_head=4, **ENDS),
    Qwen3Config(vocab_size=97, head_dim=32, **WIDE, **ENDS),
]


def counted(model):
    """What torch counts in a forward and a backward pass; it multiplies whole score matrices, the later
    tokens' half included."""
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, logits_to_keep=LABELS, use_cache=False).logits.sum().backward()
    return counter.get_total_flops()


def with_whole_scores(work):
    return work.per_token * ROWS * LENGTH + work.per_label * ROWS * LABELS + work.per_pair * ROWS * LENGTH**2


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_work_is_what_torch_counts(config):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert with_whole_scores(model_flops(model)) == counted(model)


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # peft asks transformers by its old name
def test_the_weights_of_a_frozen_base_get_no_gradient():
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_config(CONFIGS[0], attn_implementation="eager")
    base.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: output.requires_grad_()
    )  # as if layers lay before
    full = model_flops(base)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert with_whole_scores(model_flops(adapted)) == counted(adapted)
    assert (
        4 / 6 < model_flops(adapted).per_token / full.per_token < 0.85
    )  # adapters of rank 4 are no small part of a width of 64


def test_a_step_by_hand():
    work = ModelFlops(per_token=100.0, per_label=10.0, per_pair=1.0)
    assert work.of_step(np.array([3, 5]), label_tokens=4) == 100 * 8 + 10 * 4 + (1 + 2 + 3) + (1 + 2 + 3 + 4 + 5)
    windowed = ModelFlops(per_token=0.0, per_label=0.0, per_pair=0.0, per_window_pair=1.0, window=2)
    assert windowed.of_step(np.array([4]), label_tokens=0) == 1 + 2 + 2 + 2


def test_layers_of_a_window_see_no_more():
    config = Gemma2Config(vocab_size=97, head_dim=16, sliding_window=8, **WIDE, **ENDS)
    work = model_flops(AutoModelForCausalLM.from_config(config))
    assert (work.per_pair, work.per_window_pair, work.window) == (
        1 * 12 * 64,
        2 * 12 * 64,
        8,
    )  # every second layer sees all


def test_the_model_may_be_without_weights():
    with torch.device("meta"):
        assert model_flops(AutoModelForCausalLM.from_config(CONFIGS[0])) == model_flops(
            AutoModelForCausalLM.from_config(CONFIGS[0])
        )
    assert model_flops(AutoModelForCausalLM.from_config(CONFIGS[0])).per_token == 6 * 3 * (
        64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 176
    )


def test_peak_is_measured_on_a_cpu_and_read_on_a_gpu(monkeypatch):
    assert 1e9 < peak_flops("cpu", "32-true") < 1e14
    assert peak_flops("cpu", "32-true") == peak_flops("cpu", "32-true")  # once a process
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert peak_flops("cuda", "bf16-mixed") == 989.4e12  # dense; Lightning's table says 2e15, which is with sparsity
    from sftdiv.training.resources import flops

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    assert flops._listed_peak(torch.device("cuda"), torch.bfloat16) == 312e12


def test_a_utilization_above_one_is_none_until_a_larger_peak_is_measured():
    meter = ThroughputMeter(None, 100.0, remeasure=lambda: 400.0)
    meter.operations, meter.seconds, meter.tokens = 360.0, 2.0, 10
    assert meter.mfu is None  # 180 % of a peak that was measured while others computed
    meter.on_train_end(None, None)
    assert meter.mfu == 0.45
    row_of = {"tokens_per_second": 5.0, "mfu": None}
    assert row(row_of) == {"speed.tokens_per_second": 5.0}


def test_the_best_of_several_measured_peaks_counts(monkeypatch):
    from sftdiv.training.resources import flops

    measured = iter([1e9, 3e9, 2e9, 2e9, 5e9, 1e9])
    monkeypatch.setattr(flops, "_best_measured", {})
    monkeypatch.setattr(flops, "_measured_peak", lambda device, dtype: next(measured))
    assert peak_flops("cpu", "32-true") == peak_flops("cpu", "32-true") == 3e9
    assert peak_flops("cpu", "32-true", again=True) == 3e9
    assert peak_flops("cpu", "32-true", again=True) == peak_flops("cpu", "32-true") == 5e9
