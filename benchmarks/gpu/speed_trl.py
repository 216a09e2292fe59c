"""The other side of part (b): TRL's SFTTrainer, which is imported when it is used, since it may be missing."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from speed_load import WARM_UP, Load

from sftdiv.modeling.chat_labels import IGNORED
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.training.adapters import add_adapter
from sftdiv.training.resources.flops import model_flops, peak_flops
from sftdiv.training.tokenizer import train_tokenizer


def theirs(load: Load, *, adapter: bool = False) -> dict[str, Any]:
    """TRL's SFTTrainer on the same ids, as its documentation advises for one GPU."""
    from trl import SFTTrainer

    flash = load.device == "cuda" and importlib.util.find_spec("flash_attn") is not None
    model = load.model("flash_attention_2" if flash else "sdpa")
    if adapter:
        model = add_adapter(model, tiny.LORA, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(load, Path(folder) / "output", packed=flash)
        trainer = SFTTrainer(
            model=model, args=settings, train_dataset=_dataset(load), processing_class=_tokenizer(Path(folder))
        )
        rows_per_step = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
        clock = _clock(trainer, load, rows_per_step=rows_per_step)
        trainer.train()
    operations = model_flops(trainer.model).of_step(np.array(clock["lengths"]), clock["labels"])
    return {
        "tokens_per_second": sum(clock["lengths"]) / clock["seconds"],
        "mfu": operations / clock["seconds"] / peak_flops(load.device, load.precision),
        "packed": flash,
    }


def _settings(load: Load, folder: Path, *, packed: bool) -> Any:
    """The settings of TRL, with as many tokens per step as `load` has."""
    from trl import SFTConfig

    tokens_per_step = load.batch_size * float(np.mean(load.lengths))
    how: dict[str, Any] = {"packing": True} if packed else {"train_sampling_strategy": "group_by_length"}
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=max(1, round(tokens_per_step / load.max_length)) if packed else load.micro_batch,
        gradient_accumulation_steps=1 if packed else max(1, load.batch_size // load.micro_batch),
        max_steps=WARM_UP + load.steps,
        max_length=load.max_length,
        bf16=load.device == "cuda",
        gradient_checkpointing=False,
        use_cpu=load.device == "cpu",
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **how,
    )


def _dataset(load: Load) -> Any:
    """The conversations of all steps."""
    from datasets import Dataset

    examples = load.examples()
    rows = [examples[index] for chosen in load.plan() for index in chosen]
    ids, labels = [row.input_ids.tolist() for row in rows], [row.labels.tolist() for row in rows]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def _tokenizer(folder: Path) -> Any:
    """A tokenizer that TRL asks for and, with token ids given, does not use."""
    train_tokenizer(["a b c"], folder / "tokenizer", vocab_size=300)
    return load_tokenizer(folder / "tokenizer")


def _clock(trainer: Any, load: Load, *, rows_per_step: int) -> dict[str, Any]:
    """Seconds and tokens of TRL's steps after the warm-up, filled while it trains; it may fetch a batch too many."""
    from transformers import TrainerCallback

    clock: dict[str, Any] = {"seconds": 0.0, "lengths": [], "labels": 0, "begun": 0.0, "rows": 0}
    collate = trainer.data_collator

    def counted(samples: Sequence[Mapping[str, Any]]) -> Any:
        for sample in samples:
            if WARM_UP <= clock["rows"] // rows_per_step < WARM_UP + load.steps:
                clock["lengths"] += sample.get("seq_lengths") or [len(sample["input_ids"])]
                clock["labels"] += sum(label != IGNORED for label in sample["labels"])
            clock["rows"] += 1
        return collate(samples)

    class Watch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == WARM_UP:
                _synchronize(load.device)
                clock["begun"] = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == state.max_steps:
                _synchronize(load.device)
                clock["seconds"] = time.perf_counter() - clock["begun"]

    trainer.data_collator = counted
    trainer.add_callback(Watch())
    return clock


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
