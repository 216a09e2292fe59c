"""Fine-tunes a causal language model on conversations.

Input is a base model and messages. Output is a model folder in the hub's format, which includes the
record of the training. Every label token of an optimizer step has equal weight, however the step is
split into micro-batches, rows and ranks. If ranks share the work, each of them calls `fine_tune`
with the same arguments (see `launch`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftdiv.modeling.chat_labels import Messages
from sftdiv.modeling.checkpoint import load_meta_model, load_model, load_tokenizer
from sftdiv.protocols import Tracker
from sftdiv.records import ModelRef
from sftdiv.storage.files import write_atomically
from sftdiv.training.batching.batches import StepDataset
from sftdiv.training.batching.conversations import NamedExamples, TokenizedConversations, tokenize_conversations
from sftdiv.training.batching.example_checks import preview
from sftdiv.training.batching.packing_check import check_packing
from sftdiv.training.batching.training_plan import plan_training
from sftdiv.training.callbacks.neftune import EmbeddingNoise
from sftdiv.training.callbacks.training_progress import ThroughputMeter
from sftdiv.training.config import TrainerConfig, TrainingConfig
from sftdiv.training.distributed.shard import shard
from sftdiv.training.loop import this_rank, train
from sftdiv.training.model_setup import attention, prepare_model, save_model, save_with_end_tokens
from sftdiv.training.module import CausalModule
from sftdiv.training.record import TrainingRecord, record_of
from sftdiv.training.resources.flops import peak_flops
from sftdiv.training.resources.memory_advice import memory_advice, memory_errors_explained
from sftdiv.training.resources.micro_batch import ResourcePlan, plan_resources, probe_micro_batch
from sftdiv.training.summary import FILE

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
CHECKPOINT, PREVIEW = "checkpoint", "preview.txt"  # beside the model


@dataclass(frozen=True)
class _Inputs:
    """Everything that is determined before a weight is loaded."""

    tokenizer: PreTrainedTokenizerBase
    conversations: TokenizedConversations
    resources: ResourcePlan


def fine_tune(
    base: ModelRef,
    conversations: Sequence[Messages],
    names: Sequence[str],
    folder: Path,
    *,
    groups: Sequence[str] | None = None,
    config: TrainingConfig,
    seed: int,
    tracker: Tracker | None = None,
) -> TrainingRecord:
    """Train a base model on conversations and save it.

    Args:
        base: Base model.
        conversations: Messages of each conversation.
        names: Names of the conversations, for errors.
        folder: Output folder of the model; its previous content is replaced. ``preview.txt`` and,
            until the end, checkpoints are written beside it.
        groups: Group of each conversation; a group is trained on or validated on as a whole. None
            makes every conversation its own group.
        config: Settings of the training.
        seed: Seed of the order of the conversations, the adapters' initial weights, dropout and noise.
        tracker: Receives the metrics of every optimizer step.

    Returns:
        The record of the training, which is also saved in the folder as ``train.json``.

    Raises:
        SftdivError: Too few conversations have a label token, the base cannot be loaded or does not
            fit into memory, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same call resumes from the checkpoint that is left.
    """
    config = config.resolved()
    inputs = _prepare_inputs(base, conversations, names, groups or names, folder.parent, config, seed)
    model = prepare_model(base, config=config, seed=seed)
    return _train_and_save(model, base, inputs, folder, config, seed, tracker)


def save_untrained(base: ModelRef, folder: Path, *, template: str | None, prefer_own: bool) -> None:
    """Save a base model as `fine_tune` saves a trained one: with a chat template and the tokens that end a response.

    Args:
        base: Base model.
        folder: Output folder.
        template: Jinja chat template; None for the tokenizer's own.
        prefer_own: Whether the tokenizer's own template, if it has one, takes precedence.
    """
    tokenizer = load_tokenizer(base, template=template, prefer_own=prefer_own)
    record = json.dumps({"steps": 0, "tokens": 0, "label_tokens": 0}) + "\n"
    save_with_end_tokens(load_model(base, dtype="auto"), tokenizer, folder, files={FILE: record})


def _prepare_inputs(
    base: ModelRef,
    conversations: Sequence[Messages],
    names: Sequence[str],
    groups: Sequence[str],
    folder: Path,
    config: TrainingConfig,
    seed: int,
) -> _Inputs:
    """Tokenize and check the conversations, write the preview, and check that the training fits into memory."""
    tokenizer = load_tokenizer(base, template=config.data.template, prefer_own=config.data.prefer_own)
    meta_model = load_meta_model(base)
    vocabulary = int(meta_model.get_input_embeddings().weight.shape[0])
    tokenized = tokenize_conversations(
        tokenizer, conversations, names, groups, data=config.data, vocabulary=vocabulary, seed=seed
    )
    if this_rank() == 0:
        text = preview(tokenizer, tokenized.train.examples, tokenized.train.names)
        log.info("⟦ ⟧ enclose the tokens that enter the loss:\n%s", text)
        write_atomically(folder / PREVIEW, text)
    return _Inputs(tokenizer, tokenized, plan_resources(meta_model, tokenized.train, config=config, seed=seed))


def _train_and_save(
    model: PreTrainedModel,
    base: ModelRef,
    inputs: _Inputs,
    folder: Path,
    config: TrainingConfig,
    seed: int,
    tracker: Tracker | None,
) -> TrainingRecord:
    conversations, resources = inputs.conversations, inputs.resources
    layout = _step_layout(model, inputs, config)
    plan = plan_training(
        conversations, layout, folder.parent / CHECKPOINT, _identity(base, config), config=config, seed=seed
    )
    neftune = config.fine_tuning.neftune
    module = CausalModule(
        model,
        steps=len(plan.steps.plan),
        optimizer=config.optimizer,
        first=plan.steps.first,
        ranks=config.trainer.ranks,
        shard=_sharding(config.trainer),
        noise=EmbeddingNoise(model.get_input_embeddings(), neftune) if neftune else None,
        tracker=tracker,
    )
    advice = memory_advice(config, rows=plan.steps.micro_batch, length=resources.shape.length)
    with memory_errors_explained(advice):
        speed = train(
            module,
            plan.steps,
            trainer=config.trainer,
            seed=seed,
            title="fine-tuning",
            meter=_meter(resources, config.trainer),
            callbacks=[plan.validation] if config.trainer.strategy == "deepspeed" else plan.callbacks,
        )  # DeepSpeed keeps a state of its own, which our checkpoints cannot hold
    if plan.checkpoints.stopped:
        raise KeyboardInterrupt
    plan.validation.restore_best(module)
    record = record_of(conversations, plan, module, speed=speed, trainer=config.trainer, memory=resources.memory)
    files = {FILE: json.dumps(record.as_json(), indent=1) + "\n"}
    save_model(module.model, inputs.tokenizer, folder, base=base, config=config, files=files)
    plan.checkpoints.remove()
    if plan.checkpoints.interrupted:  # during the last step, which needed no checkpoint
        raise KeyboardInterrupt
    return record


def _meter(resources: ResourcePlan, trainer: TrainerConfig) -> ThroughputMeter:
    def remeasure() -> float:
        return peak_flops(trainer.device, trainer.precision, again=True) * trainer.ranks

    return ThroughputMeter(resources.flops, resources.peak, remeasure=remeasure)


def _step_layout(model: PreTrainedModel, inputs: _Inputs, config: TrainingConfig) -> Callable[..., StepDataset]:
    """`StepDataset` with the layout of this training: padding, micro-batch, packing, ranks."""
    packing, examples = config.data.packing, inputs.conversations.train
    pad_id = int(inputs.tokenizer.pad_token_id)
    if packing and this_rank() == 0:
        if config.fine_tuning.liger and not config.trainer.shards_model:
            model.to(config.trainer.device)  # Liger's kernels run on a GPU only
        check_packing(model, examples, pad_id=pad_id)
    return partial(
        StepDataset,
        pad_id=pad_id,
        micro_batch=_micro_batch(model, inputs.resources, examples, config),
        capacity=config.data.max_length if packing else None,
        flat=attention(config) == "flash_attention_2",
        rank=this_rank(),
        ranks=config.trainer.ranks,
    )


def _micro_batch(
    model: PreTrainedModel, resources: ResourcePlan, examples: NamedExamples, config: TrainingConfig
) -> int:
    """The estimated micro-batch; an automatic one on a single GPU is reduced until it passes."""
    rows, trainer = resources.shape.rows, config.trainer
    if config.schedule.micro_batch != "auto" or trainer.device != "cuda" or trainer.ranks > 1:
        return rows
    capacity = config.data.max_length if config.data.packing else None
    steps = StepDataset(examples.examples, examples.names, [], pad_id=0, micro_batch=rows, capacity=capacity)
    return probe_micro_batch(model.to("cuda"), steps.longest_batch, rows=rows, trainer=trainer)


def _identity(base: ModelRef, config: TrainingConfig) -> dict[str, Any]:
    """What a checkpoint depends on besides the seed and the data; it may be resumed on other devices."""
    settings = config.identity()
    del settings["trainer"]
    return {"base": base.identity(), **settings}


def _sharding(trainer: TrainerConfig) -> Callable[[PreTrainedModel, DeviceMesh], None] | None:
    if trainer.strategy != "fsdp" or trainer.ranks == 1:
        return None
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if trainer.device == "cuda" else torch.device("cpu")
    return partial(shard, device=device, precision=trainer.precision, offload=trainer.offload)
