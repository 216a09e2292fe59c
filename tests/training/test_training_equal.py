"""One optimizer step is the same however it is cut: into micro-batches, packed rows, or ranks; and packing
lets no example see another."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from tiny_models import ADAM
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
)

from sftdiv.modeling.chat_labels import IGNORED, Labelled
from sftdiv.modeling.loss import token_losses
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import StepDataset
from sftdiv.training.batching.conversations import NamedExamples
from sftdiv.training.batching.packing_check import check_packing
from sftdiv.training.callbacks.training_progress import ThroughputMeter
from sftdiv.training.config import OptimizerConfig, TrainerConfig
from sftdiv.training.distributed.shard import decoder_layers
from sftdiv.training.loop import train
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.flops import model_flops

SIXTEEN = [5, 9, 2, 14, 7, 7, 3, 11, 6, 4, 8, 12, 10, 13, 2, 15]
SHAPE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = LlamaConfig(**SHAPE, intermediate_size=32, tie_word_embeddings=True)
CUTS = {  # how the step of sixteen conversations is cut
    "whole": {"micro_batch": 16},
    "4 x 4": {"micro_batch": 4},
    "packed": {"micro_batch": 16, "capacity": 32},
    "4 packed rows at a time": {"micro_batch": 4, "capacity": 20},
}


def conversations(lengths):
    """Random ids of which the second half is learned."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 50, size=length) for length in lengths]
    return [
        Labelled(each, np.where(np.arange(len(each)) >= len(each) // 2, each, IGNORED), truncated=False) for each in ids
    ]


class Gradients(Callback):
    """Copies the gradients of the step, before they are clipped."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        whole = [
            p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad for p in pl_module.model.parameters()
        ]
        self.vector = torch.cat([each.detach().double().flatten() for each in whole])


def one_step(dtype, *, trainer=None, rank=0, ranks=1, shard=None, **cut):
    """The loss and the gradients of one optimizer step on sixteen conversations of unlike lengths."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LLAMA).to(dtype)
    names = [str(number) for number in range(16)]
    steps = StepDataset(conversations(SIXTEEN), names, [np.arange(16)], pad_id=0, rank=rank, ranks=ranks, **cut)
    precision = "64-true" if dtype == torch.float64 else "32-true"
    trainer = trainer or TrainerConfig(accelerator="cpu", devices=1, precision=precision, threads=1)
    seen = Gradients()
    meter = ThroughputMeter(model_flops(model), 1e9)
    optimizer = OptimizerConfig(**ADAM | {"clip": 1e9})
    module = CausalModule(model, steps=1, optimizer=optimizer, ranks=trainer.ranks, shard=shard)
    train(module, steps, trainer=trainer, seed=0, title="", meter=meter, callbacks=[seen])
    return module.losses[0], seen.vector


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("cut", [name for name in CUTS if name != "whole"])
def test_loss_and_gradients_of_a_step_do_not_depend_on_how_it_is_cut(cut, dtype, tolerance):
    loss, gradients = one_step(dtype, **CUTS["whole"])
    other_loss, other = one_step(dtype, **CUTS[cut])
    assert other_loss == pytest.approx(loss, rel=tolerance)
    assert (other - gradients).norm() < tolerance * gradients.norm()


def test_a_mean_of_means_would_be_seen():
    """The test above can fail: the mean over micro-batches of their means is another number."""
    steps = StepDataset(
        conversations(SIXTEEN), [str(number) for number in range(16)], [np.arange(16)], pad_id=0, micro_batch=4
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LLAMA)
    means = [token_losses(model, batch.input_ids, batch.labels).mean().item() for batch in steps[0].batches]
    assert abs(np.mean(means) - one_step(torch.float32, micro_batch=16)[0]) > 1e-4


@pytest.mark.parametrize(
    "config",
    [
        LLAMA,
        GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2),
        Qwen3Config(**SHAPE, intermediate_size=32, head_dim=8, num_key_value_heads=1),
        Gemma2Config(**SHAPE, intermediate_size=32, head_dim=8, num_key_value_heads=1, sliding_window=4),
        MistralConfig(**SHAPE, intermediate_size=32, num_key_value_heads=1, sliding_window=4),
        GPTNeoXConfig(**SHAPE, intermediate_size=32),
    ],
    ids=lambda config: config.model_type,
)
def test_a_packed_example_has_the_loss_that_it_has_alone(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    examples = conversations(SIXTEEN)
    names = [str(number) for number in range(16)]
    packed = StepDataset(examples, names, [np.arange(16)], pad_id=0, micro_batch=16, capacity=32)[0].batches[0]
    losses = token_losses(model, packed.input_ids, packed.labels, packed.position_ids)
    together = iter(losses.split([examples[int(name)].label_tokens for name in packed.names]))
    for name in packed.names:
        alone = StepDataset(examples, names, [np.array([int(name)])], pad_id=0, micro_batch=1)[0].batches[0]
        torch.testing.assert_close(
            next(together), token_losses(model, alone.input_ids, alone.labels), atol=1e-5, rtol=1e-5
        )


def test_rows_end_to_end_without_padding_have_the_same_losses():
    torch.manual_seed(0)
    model, names = AutoModelForCausalLM.from_config(LLAMA).eval(), [str(number) for number in range(16)]
    how = {"pad_id": 0, "micro_batch": 4, "capacity": 20}
    rows, flat = (
        StepDataset(conversations(SIXTEEN), names, [np.arange(16)], flat=flat, **how)[0] for flat in (False, True)
    )
    for padded, end_to_end in zip(rows.batches, flat.batches, strict=True):
        assert end_to_end.input_ids.shape == (1, sum(map(sum, padded.lengths)))
        ours, theirs = (
            token_losses(model, each.input_ids, each.labels, each.position_ids) for each in (padded, end_to_end)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_model_that_carries_a_state_is_refused_before_it_is_packed():
    examples = NamedExamples(conversations([8, 9]), ["a", "b"])
    check_packing(AutoModelForCausalLM.from_config(LLAMA), examples, pad_id=0)
    mamba = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(SftdivError, match=r"data\.packing=true.*MambaForCausalLM"):
        check_packing(AutoModelForCausalLM.from_config(mamba), examples, pad_id=0)


def test_the_packing_check_compiles_nothing():
    def refuse(graph, inputs):
        raise AssertionError("the check would wait for the compiler")

    model = AutoModelForCausalLM.from_config(LLAMA)
    model.compile(backend=refuse)
    check_packing(model, NamedExamples(conversations([8, 9]), ["a", "b"]), pad_id=0)


def test_training_in_bf16_keeps_the_rotary_frequencies_in_float32():
    """In bf16 they are wrong by up to 0.2 %, which at position 2,000 is a turn of four radians."""
    model = AutoModelForCausalLM.from_config(deepcopy(LLAMA), dtype=torch.bfloat16)  # writes the dtype into the config
    frequencies = model.model.rotary_emb.inv_freq.clone()
    settings = OptimizerConfig(learning_rate=0.01, warmup=0.1, weight_decay=0.0, clip=1.0)
    steps = StepDataset(conversations([8, 9]), ["a", "b"], [np.arange(2)], pad_id=0, micro_batch=2)
    train(
        CausalModule(model, steps=1, optimizer=settings),
        steps,
        trainer=TrainerConfig(accelerator="auto", devices=1, precision="bf16-true", threads=1),
        seed=0,
        title="",
        meter=ThroughputMeter(model_flops(model), 1e12),
    )
    assert next(model.parameters()).dtype == torch.bfloat16
    torch.testing.assert_close(model.model.rotary_emb.inv_freq.cpu(), frequencies, rtol=0, atol=0)


@pytest.mark.parametrize(
    "kind",
    ["llama", "gpt2", "qwen3", "gemma2", "mistral", "gpt_neox", "opt", "bloom", "phi", "falcon", "mixtral", "olmo2"],
)
def test_the_layers_to_shard_are_found_in_every_decoder_family(kind):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind))
    layers = decoder_layers(model)
    assert len(layers) == model.config.num_hidden_layers
    held = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    vectors = {
        id(parameter) for parameter in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    }
    assert held > 0.97 * sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in vectors)


RANKS = """
import json, os, sys
from functools import partial
from pathlib import Path
import torch
from sftdiv.training.config import TrainerConfig
from sftdiv.training.distributed.shard import shard
from test_training_equal import CUTS, one_step

rank, found = int(os.environ["RANK"]), {}
for strategy in ("ddp", "fsdp"):
    trainer = TrainerConfig(accelerator="cpu", devices=2, precision="32-true", threads=1, strategy=strategy)
    sharded = partial(shard, device=torch.device("cpu"), precision="32-true", offload=False)
    spread = sharded if strategy == "fsdp" else None
    for cut in ("4 x 4", "packed"):
        loss, gradients = one_step(torch.float32, trainer=trainer, rank=rank, ranks=2, shard=spread, **CUTS[cut])
        found[f"{strategy}, {cut}"] = {"loss": loss, "gradients": gradients.tolist()}
if rank == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
"""


def test_two_ranks_take_the_step_that_one_takes(tmp_path):
    (tmp_path / "ranks.py").write_text(RANKS)
    run_ranks(tmp_path / "ranks.py", tmp_path / "found.json")
    loss, gradients = one_step(torch.float32, **CUTS["whole"])
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"ddp, 4 x 4", "ddp, packed", "fsdp, 4 x 4", "fsdp, packed"}
    for name, one in found.items():
        assert one["loss"] == pytest.approx(loss, rel=1e-6), name
        assert (torch.tensor(one["gradients"], dtype=torch.float64) - gradients).norm() < 1e-6 * gradients.norm(), name


def run_ranks(*words):
    """Two processes by torchrun, which import from the tests' folder."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, words)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(torchrun, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
