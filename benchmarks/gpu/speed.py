"""Part (b): tokens per second and MFU of sftdiv's training loop beside TRL's, on the same model, ids and batches.

Both start from random weights, made on the GPU, and train on the same ids. ``small`` has the shape of SmolLM2-135M
and conversations of many lengths; ``large`` has that of Llama-2-7B and sequences that are full, as in other
reports of MFU. Both sides compute in bf16 and take the same conversations in a step. TRL packs where `flash_attn`
is installed, as it advises; elsewhere it batches by similar length.

MFU counts the work that must be done (`sftdiv.training.resources.flops`): 6 operations per token and trained weight, 4
per frozen one, no recomputation. It is divided by the dense bf16 peak of the data sheet: 989e12 FLOP/s on an H100 SXM
and on an H200.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from speed_load import WARM_UP, Load
from speed_trl import theirs

from sftdiv.training.adapters import add_adapter
from sftdiv.training.batching.batches import StepDataset
from sftdiv.training.callbacks.training_progress import ThroughputMeter
from sftdiv.training.config import TrainerConfig
from sftdiv.training.loop import train
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.flops import model_flops, peak_flops

SMALL = {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
SMALL |= {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
LARGE = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
LARGE |= {"num_attention_heads": 32, "num_key_value_heads": 32, "tie_word_embeddings": False}
REHEARSED = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
REHEARSED |= {"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True}
BARS = {"135m": "300,000 tokens/s", "7b.lora": "MFU 41 %", "7b.full": "MFU 45 %"}


def small(base: Path, folder: Path, device: str) -> dict[str, Any]:
    """Conversations of 16 to 1,024 tokens, half of them below 230, on the shape of SmolLM2-135M."""
    count, steps = (16, 3) if device == "cpu" else (64, 20)
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(5.4, 0.8, size=(WARM_UP + steps) * count), 16, 128 if device == "cpu" else 1024)
    load = Load(
        shape=REHEARSED if device == "cpu" else SMALL,
        lengths=np.sort(lengths.astype(int).reshape(-1, count), axis=1)[rng.permutation(WARM_UP + steps)].ravel(),
        batch_size=count,
        micro_batch=count,
        steps=steps,
        max_length=128 if device == "cpu" else 1024,
        precision="32-true" if device == "cpu" else "bf16-mixed",
        device=device,
    )
    sides: dict[str, Any] = {"ours": _measured(ours, load)}
    sides["ours_packed_sdpa"] = _measured(ours, load, packing=True)
    if device == "cuda":
        sides["ours_packed_flex"] = _measured(ours, load, packing=True, attention="flex_attention")
        if importlib.util.find_spec("flash_attn"):
            sides["ours_packed_flash"] = _measured(ours, load, packing=True, attention="flash_attention_2")
        sides["ours_compiled"] = _measured(ours, load, compiled=True)
    sides["trl"] = _measured(theirs, load)
    return _report(sides, "135m")


def large(base: Path, folder: Path, device: str, *, adapter: bool) -> dict[str, Any]:
    """Full sequences of 1,024 tokens on the shape of Llama-2-7B in bf16: an adapter, or all weights."""
    rehearsed = device == "cpu"
    length, batch = (64, 4) if rehearsed else (1024, 16)
    load = Load(
        shape=REHEARSED if rehearsed else LARGE,
        lengths=np.full(64, length),
        batch_size=batch,
        micro_batch=4 if adapter else 2,  # 80 GB hold no more without recomputation
        steps=2 if rehearsed else 5,
        max_length=length,
        precision="32-true" if rehearsed else "bf16-true",
        device=device,
    )
    sides = {"ours": _measured(ours, load, adapter=adapter), "trl": _measured(theirs, load, adapter=adapter)}
    return _report(sides, "7b.lora" if adapter else "7b.full")


def _report(sides: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    numbers = {f"{side}.{key}": value for side, values in sides.items() for key, value in values.items()}
    speeds = {side: values["tokens_per_second"] for side, values in sides.items() if "tokens_per_second" in values}
    best = max((speed for side, speed in speeds.items() if side.startswith("ours")), default=0.0)
    return {**numbers, "best_ours_by_trl": best / speeds["trl"] if "trl" in speeds else None, "bar": BARS[name]}


def _measured(side: Any, load: Load, **how: Any) -> dict[str, Any]:
    """What a side needs, or its error; the memory is free afterwards."""
    try:
        if load.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        numbers = dict(side(load, **how))
        if load.device == "cuda":
            numbers["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return numbers
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error) else ''}"}
    finally:
        gc.collect()
        if load.device == "cuda":
            torch.cuda.empty_cache()


def ours(
    load: Load, *, packing: bool = False, attention: str = "sdpa", compiled: bool = False, adapter: bool = False
) -> dict[str, Any]:
    """The training loop of `fine_tune`, without files; the measured steps follow the warm-up."""
    model = load.model(attention)
    if adapter:
        model = add_adapter(model, tiny.LORA, seed=0)
    if compiled:
        model.compile(dynamic=True)
    examples = load.examples()
    layout = {"pad_id": 0, "micro_batch": load.micro_batch, "capacity": load.max_length if packing else None}
    layout["flat"] = attention == "flash_attention_2"
    names = [str(number) for number in range(len(examples))]
    trainer = TrainerConfig(
        accelerator="cpu" if load.device == "cpu" else "gpu", devices=1, precision=load.precision, threads=None
    )
    plan, flops, peak = load.plan(), model_flops(model), peak_flops(load.device, load.precision)
    for steps in (plan[:WARM_UP], plan[WARM_UP:]):
        module = CausalModule(model, steps=len(steps), optimizer=tiny.settings(load.device).optimizer)
        meter = ThroughputMeter(flops, peak)
        train(module, StepDataset(examples, names, steps, **layout), trainer=trainer, seed=0, title="", meter=meter)
    return {"tokens_per_second": meter.tokens_per_second, "mfu": meter.mfu, "loss": module.losses[-1]}
