"""Part (a), evaluation and embeddings: generation, lm-eval, held-out loss and sentence embeddings beside the CPU's.

See `smoke_losses` for what a check is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
import torch

from sftdiv.modeling.checkpoint import load_tokenizer

Numbers = dict[str, Any]


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
        results = run_tasks(base, ["tiny_choice", "tiny_answer"], batch_size=batch_size, device=where, **how)
        scores[f"{where}.{batch_size}"] = {name: score.value for name, score in results.items()}
    first, *others = scores.values()
    for compared in others:
        assert all(abs(first[name] - compared[name]) <= 0.1 for name in first), f"scores differ: {scores}"
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
    assert abs(ours / cpu - 1) <= tiny.FP32_ERROR, f"{ours:.5f} instead of {cpu:.5f}"
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
