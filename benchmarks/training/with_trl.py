"""TRL's SFTTrainer on prompt-completion conversations, which it tokenizes itself; the loss is on the completions.

``train`` follows its documentation, with bf16 and checkpointing off; ``train_grouped`` groups by length;
``train_packed`` packs rows of the model's positions, with as many rows per step as hold the samples of a
step of the others. All use the same optimizer and schedule, through the trainer's own argument.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from recipe import CLIP, Case, Clock, adamw, share

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def train(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """Batches of samples in random order."""
    return _train(case, clock, seed=seed, batch=case.settings["batch_size"])


def train_grouped(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """Batches of samples of similar length."""
    return _train(case, clock, seed=seed, batch=case.settings["batch_size"], train_sampling_strategy="group_by_length")


def train_packed(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """Packed rows."""
    mean = case.settings["tokens"] / case.settings["samples"]
    rows = max(1, round(case.settings["batch_size"] * mean / case.settings["positions"]))
    return _train(case, clock, seed=seed, batch=rows, packing=True)


def _train(case: Case, clock: Clock, *, seed: int, batch: int, **how: Any) -> PreTrainedModel:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    rows = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["response"]}],
        }
        for row in case.conversations("train")
    ]
    model = AutoModelForCausalLM.from_pretrained(case.base, dtype=torch.float32)
    optimizer = adamw(model, case.settings["learning_rate"])
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch,
        num_train_epochs=1,
        max_length=case.settings["positions"],
        max_grad_norm=CLIP,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **how,
    )
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(case.base),
        optimizers=(optimizer, None),
    )
    steps = len(trainer.get_train_dataloader())
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(step, steps))
    _watch(trainer, clock)
    trainer.train()
    return trainer.model


def _watch(trainer: Any, clock: Clock) -> None:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **more: Any) -> None:
            clock.begin()

        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            clock.end()

    collate = trainer.data_collator

    def kept(samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(samples)
        clock.seen.append((batch["input_ids"], batch["labels"], batch.get("position_ids")))
        return batch

    trainer.data_collator = kept
    trainer.add_callback(Watch())
