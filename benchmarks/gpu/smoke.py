"""Part (a): every path of sftdiv that needs a GPU, once, on a tiny model, compared with the CPU in float32.

A check gets the folder of the tiny model, an empty folder of its own and the device, and returns numbers for the
report. It fails by raising. What it needs (a GPU, a package) stands in `parts`. Everything that a CPU can compute is
computed in the rehearsal too, in float32, so that only the kernels are new on the GPU.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.loss import token_losses
from sftdiv.training.batching.batches import StepDataset

Numbers = dict[str, Any]
BF16_ERROR, FP32_ERROR = 0.01, 1e-3  # mean relative difference of the losses of label tokens
STEP_ERROR = 0.03  # relative difference of the loss of a step, before training has amplified it
FAR_FROM_ERROR = 5  # how much larger the difference by a wrong mask must be than the tolerance


def losses(base: Path, folder: Path, device: str, *, attention: str, packing: bool) -> Numbers:
    """Losses of the label tokens in the type that the GPU trains in equal those of the CPU, packed or not."""
    numbers: Numbers = {}
    for dtype, error in ((torch.float32, FP32_ERROR), (torch.bfloat16, BF16_ERROR)):
        if attention == "flash_attention_2" and dtype is torch.float32:
            continue
        model = load_model(base, dtype=dtype, device=device, attention=attention)
        found = _difference(model, base, packing=packing, flat=attention == "flash_attention_2")
        name = str(dtype).removeprefix("torch.")
        numbers |= {f"{name}.{key}": value for key, value in found.items()}
        assert found["difference"] <= error, f"{name}: losses differ by {found['difference']:.2g}, more than {error}"
        if packing:
            assert found["without_separation"] > FAR_FROM_ERROR * error, "the check could not see a wrong mask"
    return numbers


def _difference(model: Any, base: Path, *, packing: bool, flat: bool) -> dict[str, float]:
    """Mean relative difference from the CPU's losses, and the same if packed examples saw each other."""
    examples, expected = tiny.examples(base), tiny.reference(base)["tokens"]
    names = [str(number) for number in range(len(examples))]
    capacity = tiny.MAX_LENGTH if packing else None
    layout = {"pad_id": 0, "micro_batch": tiny.BATCH, "capacity": capacity, "flat": flat}
    step = StepDataset(examples, names, [np.arange(len(examples))], **layout)[0]
    numbers = {"difference": _relative(model, step.batches, expected, separated=True)}
    if packing:
        numbers["without_separation"] = _relative(model, step.batches, expected, separated=False)
    return numbers


def _relative(model: Any, batches: list[Any], expected: list[list[float]], *, separated: bool) -> float:
    found, wanted = [], []
    for batch in batches:
        positions = batch.position_ids if separated else None
        inputs = [
            None if each is None else each.to(model.device) for each in (batch.input_ids, batch.labels, positions)
        ]
        with torch.no_grad():
            found.append(token_losses(model, *inputs).float().cpu())
        wanted.append(torch.tensor([loss for name in batch.names for loss in expected[int(name)]]))
    return float((torch.cat(found) - torch.cat(wanted)).abs().mean() / torch.cat(wanted).mean())


def training(base: Path, folder: Path, device: str, **changes: Any) -> Numbers:
    """A training begins with the loss of the CPU, learns, and leaves a model that can be loaded."""
    if isinstance(changes.get("adapter"), dict):
        changes["adapter"] = replace(tiny.LORA, **changes["adapter"])
    if device == "cpu":
        changes.pop("precision", None)
    record = tiny.train(base, folder, device, **changes)
    expected = tiny.reference(base)["steps"]
    first = abs(record.losses[0] / expected[0] - 1)
    assert changes.get("neftune") or first <= STEP_ERROR, f"the first loss differs by {first:.2g} from the CPU's"
    assert all(map(math.isfinite, record.losses)), "a loss is not finite"
    assert record.loss < record.losses[0], f"nothing was learned: {record.losses[0]:.3f} to {record.loss:.3f}"
    saved = load_model(folder / "model", dtype="auto")
    numbers = {"first_difference": first, "loss": record.loss, "precision": record.how["precision"]}
    return numbers | {"micro_batch": record.how["micro_batch"], "saved": str(saved.dtype)}


def half_precision_overflow(base: Path, folder: Path, device: str) -> Numbers:
    """With fp16 the loss is scaled, so that small gradients survive; overflowing steps are skipped, not learned."""
    scaled = training(base, folder / "scaled", device, precision="16-mixed")
    record = tiny.train(base, folder / "clipped", device, precision="16-mixed", clip=1e-3)
    assert math.isfinite(record.loss), "clipping comes before unscaling"
    return scaled | {"loss_clipped": record.loss}


def adapter_alone(base: Path, folder: Path, device: str) -> Numbers:
    """An adapter that is saved alone gives the losses of the merged model."""
    means = []
    for merge in (True, False):
        tiny.train(base, folder / str(merge), device, adapter=replace(tiny.LORA, merge=merge))
        model = load_model(folder / str(merge) / "model", dtype=torch.float32, device=device)
        examples = tiny.examples(base)
        step = StepDataset(examples, [""] * len(examples), [np.arange(8)], pad_id=0, micro_batch=8)[0]
        with torch.no_grad():
            inputs = [each.to(device) for each in step.batches[0][1:3]]
            means.append(token_losses(model, *inputs).mean().item())
    assert abs(means[0] / means[1] - 1) <= BF16_ERROR, f"merged {means[0]:.4f}, alone {means[1]:.4f}"
    return {"merged": means[0], "alone": means[1]}


def automatic_batch(base: Path, folder: Path, device: str) -> Numbers:
    """``train.batch=auto`` takes the whole step where it fits, and halves the micro-batch until it fits."""
    whole = tiny.train(base, folder / "whole", device, micro_batch="auto", batch_size=tiny.COUNT)
    assert whole.how["micro_batch"] == tiny.COUNT, f"{whole.how['micro_batch']} of {tiny.COUNT} conversations"
    if device == "cpu":
        return {"whole": whole.how["micro_batch"]}
    total = torch.cuda.get_device_properties(0).total_memory
    limit = 0.4 * whole.speed.peak_memory_gib * 2**30 / total
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        halved = tiny.train(base, folder / "halved", device, micro_batch="auto", batch_size=tiny.COUNT)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert halved.how["micro_batch"] < tiny.COUNT, "40 % of the memory still took the whole step"
    assert abs(halved.losses[0] / whole.losses[0] - 1) <= STEP_ERROR, "the cut changes the loss"
    return {"whole": tiny.COUNT, "halved": halved.how["micro_batch"]}


def resumed(base: Path, folder: Path, device: str, *, precision: str = "bf16-mixed") -> Numbers:
    """A training that is broken off resumes from its checkpoint, random states and loss scale included."""
    from sftdiv.records import ModelRef
    from sftdiv.training.fine_tune import fine_tune

    changes = {} if device == "cpu" else {"precision": precision}
    whole = tiny.train(base, folder / "whole", device, **changes)
    talks = tiny.conversations()
    names = [f"talk-{number}" for number in range(len(talks))]
    config = tiny.settings(device, checkpoint_steps=3, **changes)
    arguments = (ModelRef(str(base)), talks, names, folder / "parts" / "model")
    try:
        fine_tune(*arguments, config=config, seed=tiny.SEED, tracker=_StopAtStep(7))
        raise AssertionError("the tracker should have stopped the training")
    except _Stopped:
        record = fine_tune(*arguments, config=config, seed=tiny.SEED)
    assert record.resumed_at == 6, f"resumed at step {record.resumed_at}"
    difference = abs(record.losses[-1] / whole.losses[-1] - 1)
    assert difference <= STEP_ERROR, f"the last loss differs by {difference:.2g}"
    return {"resumed_at": record.resumed_at, "difference": difference}


class _Stopped(Exception):  # noqa: N818  # no error: the interruption that is checked
    pass


class _StopAtStep:
    """A tracker that breaks the training off."""

    def __init__(self, step: int) -> None:
        self.step = step

    def log(self, metrics: Any, step: int) -> None:
        """Raise at the step."""
        if step == self.step:
            raise _Stopped

    def samples(self, path: Path) -> None:
        """Ignored."""

    def finish(self, summary: Any, exit_code: int) -> None:
        """Ignored."""


def generation(base: Path, folder: Path, device: str) -> Numbers:
    """Greedy answers of a batch equal those of the CPU, apart from near-ties."""
    from sftdiv.modeling.generate import generate

    prompts = [talk[:1] for talk in tiny.conversations(16)]
    how = {"max_new_tokens": 16, "max_length": tiny.MAX_LENGTH}
    ours, cpu = (generate(base, prompts, device=each, **how) for each in (device, "cpu"))
    same = sum(left == right for left, right in zip(ours, cpu, strict=True))
    assert same >= len(prompts) / 2, f"{same} of {len(prompts)} answers are equal"
    return {"equal_answers": same, "of": len(prompts)}


def harness(base: Path, folder: Path, device: str) -> Numbers:
    """Scores of lm-eval, by log-likelihood and by generation, equal those of the CPU, with any batch size."""
    from sftdiv.evaluation.harness import run_tasks

    _write_tasks(folder / "tasks")
    how = {"include_path": folder / "tasks", "num_fewshot": None, "limit": None, "chat_template": True, "seed": 0}
    scores = {}
    for where, batch_size in dict.fromkeys([(device, 4), (device, "auto"), ("cpu", 4)]):
        found = run_tasks(base, ["tiny_choice", "tiny_answer"], batch_size=batch_size, device=where, **how)
        scores[f"{where}.{batch_size}"] = {name: score.value for name, score in found.items()}
    first, *others = scores.values()
    for other in others:
        assert all(abs(first[name] - other[name]) <= 0.1 for name in first), f"scores differ: {scores}"
    return scores


def _write_tasks(folder: Path) -> None:
    """Two local tasks of 16 items from the conversations."""
    folder.mkdir()
    rows = folder / "rows.jsonl"
    talks = tiny.conversations(16)
    lines = [
        {"question": talk[0]["content"], "choices": list(tiny.WORDS[:4]), "answer": row % 4, "text": "red"}
        for row, talk in enumerate(talks)
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    common = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {rows}}}}}\ntest_split: test\n"
        'doc_to_text: "{{question}}"\nnum_fewshot: 0\nmetadata: {version: 1}\n'
    )
    choice = (
        f'task: tiny_choice\n{common}output_type: multiple_choice\ndoc_to_choice: "{{{{choices}}}}"\n'
        "doc_to_target: answer\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    answer = (
        f'task: tiny_answer\n{common}output_type: generate_until\ndoc_to_target: "{{{{text}}}}"\n'
        'generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 8}\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    (folder / "tiny_choice.yaml").write_text(choice, encoding="utf-8")
    (folder / "tiny_answer.yaml").write_text(answer, encoding="utf-8")


def heldout(base: Path, folder: Path, device: str) -> Numbers:
    """The held-out loss equals that of the CPU."""
    from sftdiv.evaluation.heldout import response_loss
    from sftdiv.records import Heldout

    talks = tiny.conversations()
    names = [str(number) for number in range(len(talks))]
    examples = Heldout(talks, ["a"] * len(talks), names)
    how = {"batch_size": 16, "max_length": tiny.MAX_LENGTH}
    ours, cpu = (
        response_loss(base, examples, device=each, **how)["heldout.loss_macro"].value for each in (device, "cpu")
    )
    assert abs(ours / cpu - 1) <= FP32_ERROR, f"{ours:.5f} instead of {cpu:.5f}"
    return {"loss": ours, "cpu": cpu}


def embeddings(base: Path, folder: Path, device: str) -> Numbers:
    """Sentence embeddings point in the direction that they have on the CPU."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel

    from sftdiv.embeddings.sentence import SentenceEmbedder

    encoder = folder / "encoder"
    torch.manual_seed(tiny.SEED)
    tokenizer = load_tokenizer(base)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
        )
    ).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    words = Transformer(str(encoder), max_seq_length=128)
    SentenceTransformer(modules=[words, Pooling(64)], device="cpu").save(str(folder / "sentences"))
    texts = [talk[0]["content"] for talk in tiny.conversations()]
    vectors = []
    for devices in (None, ["cpu"]):
        embedder = SentenceEmbedder(
            path=str(folder / "sentences"),
            revision=None,
            max_tokens=None,
            prompt=None,
            devices=devices,
            batch_tokens=None,
        )
        partial = folder / f"partial-{devices}"
        partial.mkdir()
        vectors.append(embedder.embed(texts, partial).vectors)
    smallest = float((vectors[0] * vectors[1]).sum(axis=1).min())
    assert smallest > 0.999, f"cosine {smallest:.4f}"
    return {"smallest_cosine": smallest}


def sweep(base: Path, folder: Path, device: str) -> Numbers:
    """Two cells of a sweep that start together use one GPU one after the other, and both finish."""
    command = [
        *(sys.executable, "-m", "sftdiv.run", "-m", "strategy=random,micro_token", "size=0.5k", "study=locks"),
        *("eval=heldout", "embedder=none", "tracking=none", "model.pretrain.steps=40", "train.steps=20", "samples=2"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"trainer={'cpu' if device == 'cpu' else 'gpu'}"),
        *(f"paths.multirun={folder}", f"paths.cache={folder / 'cache'}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    cells = sorted(folder.glob("locks/*/result.json"))
    assert len(cells) == 2, f"{len(cells)} of 2 cells finished: {done.stderr[-1500:]}"
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in cells]
    windows = sorted(_window(path) for path in cells)
    overlap = windows[0][1] - windows[1][0]
    assert device == "cpu" or overlap <= 1, f"both cells used the GPU for {overlap:.0f} s"
    return {"precision": [row["train.precision"] for row in rows], "overlap_seconds": overlap}


def _window(result: Path) -> tuple[float, float]:
    """When a cell's process began (the first time in its log) and ended, in seconds of the day."""
    log = (result.parent / "log.txt").read_text(encoding="utf-8")
    hours, minutes, seconds = map(int, re.search(r"^(\d\d):(\d\d):(\d\d) ", log, re.MULTILINE).groups())
    end = time.localtime(result.stat().st_mtime)
    return hours * 3600 + minutes * 60 + seconds, end.tm_hour * 3600 + end.tm_min * 60 + end.tm_sec
