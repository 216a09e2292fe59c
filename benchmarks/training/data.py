"""Writes one case of the benchmark: a randomly initialised base model, and pool rows as conversations with their ids.

    python data.py POOL CASE SAMPLES FOLDER

The tokenizer is a byte-level BPE with the case's vocabulary, trained on the whole pool (half a minute
each). Rows are a seeded choice among those whose conversation fits into the model's positions, so that no
side truncates and all have the same tokens. The reference ids are built here: prompt and response are
tokenized separately between the template's special tokens.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from recipe import TEMPLATE_END, TEMPLATE_PROMPT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELD, SEED = 200, 0


def base_model(folder: Path, tokenizer: Path, case: dict[str, Any]) -> None:
    """Write a Llama with random weights and tied embeddings, beside its tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=case["width"],
        intermediate_size=case["mlp_width"],
        num_hidden_layers=case["layers"],
        num_attention_heads=case["heads"],
        max_position_embeddings=case["positions"],
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    case["parameters"] = sum(parameter.numel() for parameter in model.parameters())


def conversations(
    table: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, *, count: int, longest: int
) -> list[dict[str, Any]]:
    """The first rows, in a seeded order, that have a response and fit into the positions."""
    found: list[dict[str, Any]] = []
    for row in np.random.default_rng(SEED).permutation(len(table["id"])):
        prompt, response = (
            "\n".join(filter(None, (table["instruction"][row], table["input"][row]))),
            table["response"][row],
        )
        ids = [
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (TEMPLATE_PROMPT.format(prompt), response + TEMPLATE_END)
        ]
        if response and prompt and len(ids[0]) + len(ids[1]) <= longest:
            found.append(
                {
                    "id": table["id"][row],
                    "prompt": prompt,
                    "response": response,
                    "prompt_ids": ids[0],
                    "response_ids": ids[1],
                }
            )
        if len(found) == count:
            return found
    raise SystemExit(f"the pool has only {len(found)} rows that fit into {longest} tokens, not {count}")


def main() -> None:
    pool, name, samples, folder = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    case = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))[name]
    table = pq.read_table(pool, columns=["id", "instruction", "input", "response"]).to_pydict()
    tokenizer = folder.parent / f"tokenizer-{case['vocabulary']}"
    if not (tokenizer / "tokenizer.json").exists():
        from sftdiv.training.tokenizer import train_tokenizer

        train_tokenizer(table["instruction"] + table["response"], tokenizer, vocab_size=case["vocabulary"])
    base_model(folder / "base", tokenizer, case)
    from transformers import AutoTokenizer

    rows = conversations(
        table, AutoTokenizer.from_pretrained(tokenizer), count=samples + HELD, longest=case["positions"]
    )
    for part, chosen in (("train", rows[HELD:]), ("held", rows[:HELD])):
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    lengths = [len(row["prompt_ids"]) + len(row["response_ids"]) for row in rows[HELD:]]
    labels = sum(len(row["response_ids"]) for row in rows[HELD:])
    case |= {"samples": samples, "tokens": sum(lengths), "label_tokens": labels, "longest": max(lengths)}
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(case))


if __name__ == "__main__":
    main()
