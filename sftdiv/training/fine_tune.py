"""Fine-tune a causal language model on conversations.

In: a base model (a folder or a hub id) and messages. Out: a model folder in the hub's format, with
the record of the training in it. Every label token of an optimizer step has equal weight, however
the step is cut into micro-batches, rows and ranks. Where ranks share the work, each of them calls
this with the same arguments (see `launch`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sftdiv.modeling.chat_labels import Messages
from sftdiv.modeling.checkpoint import load_model, load_outline, load_tokenizer
from sftdiv.protocols import Tracker
from sftdiv.storage.files import write_atomically
from sftdiv.training.batching.batches import Steps
from sftdiv.training.batching.conversations import Named, read_conversations
from sftdiv.training.batching.example_checks import preview
from sftdiv.training.batching.packing_check import check_confined
from sftdiv.training.batching.training_plan import plan_training
from sftdiv.training.callbacks.neftune import EmbeddingNoise
from sftdiv.training.config import (
    DataConfig,
    FineTuningConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
    check_together,
)
from sftdiv.training.distributed.shard import shard
from sftdiv.training.loop import this_rank, train
from sftdiv.training.model_setup import attention, prepare_model, save_model, save_ready
from sftdiv.training.record import TrainingRecord, record_of
from sftdiv.training.resources.micro_batch import Size, size_up, try_out
from sftdiv.training.summary import FILE

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
CHECKPOINT, PREVIEW = "checkpoint", "preview.txt"  # beside the model


def fine_tune(
    base: str | Path,
    messages: Sequence[Messages],
    names: Sequence[str],
    folder: Path,
    *,
    groups: Sequence[str] | None = None,
    revision: str | None = None,
    reading: DataConfig,
    length: ScheduleConfig,
    method: FineTuningConfig,
    optimizer: OptimizerConfig,
    hardware: TrainerConfig,
    seed: int,
    tracker: Tracker | None = None,
) -> TrainingRecord:
    """Train ``base`` on conversations and save it.

    Args:
        base: The model to start from.
        messages: The conversations.
        names: What errors call each of them.
        folder: Where the model is saved; what it held before is replaced. Beside it lie
            ``preview.txt`` and, until the end, checkpoints.
        groups: Of each conversation; a group is validated on or trained on as a whole. None: each
            conversation for itself.
        revision: A branch, tag or commit, where the base is a hub id; None is its main branch.
        reading: What of the conversations is read and learned.
        length: How long is trained, in what portions.
        method: How the weights are trained.
        optimizer: Settings of AdamW.
        hardware: Where it runs.
        seed: Decides the order of the conversations, the adapters' first weights, dropout and noise.
        tracker: Is told of each step.

    Returns:
        What the training did; the same lies in the folder as ``train.json``.

    Raises:
        SftdivError: Too few conversations have anything to learn, the base cannot be loaded or does
            not fit, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM; a checkpoint is left, from which the same call goes on.
    """
    check_together(method, optimizer, hardware)
    hardware = hardware.resolved()
    tokenizer = load_tokenizer(base, revision=revision, template=reading.template, prefer_own=reading.prefer_own)
    outline = load_outline(base, revision=revision)
    vocabulary = int(outline.get_input_embeddings().weight.shape[0])
    data = read_conversations(
        tokenizer, messages, names, groups or names, reading=reading, vocabulary=vocabulary, seed=seed
    )
    _show(tokenizer, data.train, folder.parent)
    size = size_up(
        outline,
        data.train,
        reading=reading,
        length=length,
        method=method,
        optimizer=optimizer.name,
        hardware=hardware,
        seed=seed,
    )
    model = prepare_model(base, revision=revision, method=method, hardware=hardware, packing=reading.packing, seed=seed)
    pad_id = int(tokenizer.pad_token_id)  # type: ignore[arg-type]  # load_tokenizer has seen to it
    if reading.packing and this_rank() == 0:
        check_confined(model, data.train, pad_id=pad_id)
    layout = partial(
        Steps,
        pad_id=pad_id,
        micro_batch=_micro_batch(model, size, data.train, reading=reading, length=length, hardware=hardware),
        capacity=reading.max_length if reading.packing else None,
        flat=attention(method, hardware, packing=reading.packing) == "flash_attention_2",
        rank=this_rank(),
        ranks=hardware.ranks,
    )
    identity = {"base": str(base), **{type(one).__name__: asdict(one) for one in (reading, length, optimizer, method)}}
    course = plan_training(data, layout, folder.parent / CHECKPOINT, identity, length=length, method=method, seed=seed)
    module, speed = train(
        model,
        course.steps,
        count=len(course.steps.plan),
        optimizer=optimizer,
        hardware=hardware,
        seed=seed,
        title="fine-tuning",
        tracker=tracker,
        work=size.work,
        peak=size.peak,
        first=course.steps.first,
        shard=_sharding(hardware),
        noise=EmbeddingNoise(model.get_input_embeddings(), method.neftune) if method.neftune else None,
        callbacks=course.callbacks
        if hardware.strategy != "deepspeed"
        else [course.validation],  # whose state is its own
    )
    if course.checkpoints.stopped:
        raise KeyboardInterrupt
    course.validation.restore_best(module)
    record = record_of(data, course, module, speed=speed, hardware=hardware, memory=size.memory)
    saved = {FILE: json.dumps(record.as_json(), indent=1) + "\n"}
    save_model(
        module.model, tokenizer, folder, base=base, revision=revision, hardware=hardware, method=method, files=saved
    )
    course.checkpoints.remove()
    if course.checkpoints.asked:  # in the last step, which needed no checkpoint
        raise KeyboardInterrupt
    return record


def save_untrained(
    base: str | Path, folder: Path, *, revision: str | None = None, template: str | None, prefer_own: bool
) -> None:
    """Save a base model as `fine_tune` saves a trained one: with the chat template and the token that ends an answer.

    Args:
        base: A folder or a hub id.
        folder: Where it is saved.
        revision: Of the hub.
        template: The chat template; None for the tokenizer's own.
        prefer_own: Take the tokenizer's own where it has one.
    """
    tokenizer = load_tokenizer(base, revision=revision, template=template, prefer_own=prefer_own)
    model = load_model(base, revision=revision, dtype="auto")
    save_ready(model, tokenizer, folder, files={FILE: json.dumps({"steps": 0, "tokens": 0, "label_tokens": 0}) + "\n"})


def _show(tokenizer: PreTrainedTokenizerBase, data: Named, folder: Path) -> None:
    """What the model will see, before it sees it: in the log, and as a file."""
    if this_rank() == 0:
        shown = preview(tokenizer, data.examples, data.names)
        log.info("what is learned stands in the marks:\n%s", shown)
        write_atomically(folder / PREVIEW, shown)


def _micro_batch(
    model: PreTrainedModel,
    size: Size,
    examples: Named,
    *,
    reading: DataConfig,
    length: ScheduleConfig,
    hardware: TrainerConfig,
) -> int:
    """What was estimated; where it is left to us and there is one GPU, no more than passes on it."""
    if length.micro_batch != "auto" or hardware.device != "cuda" or hardware.ranks > 1:
        return size.micro_batch
    capacity = reading.max_length if reading.packing else None
    steps = Steps(examples.examples, examples.names, [], pad_id=0, micro_batch=size.micro_batch, capacity=capacity)
    return try_out(model.to("cuda"), steps.heaviest, rows=size.micro_batch, hardware=hardware)


def _sharding(hardware: TrainerConfig) -> Callable[[PreTrainedModel, DeviceMesh], None] | None:
    if hardware.strategy != "fsdp" or hardware.ranks == 1:
        return None
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if hardware.device == "cuda" else torch.device("cpu")
    return partial(shard, device=device, precision=hardware.precision, offload=hardware.offload)
