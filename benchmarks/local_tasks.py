"""Two local lm-eval tasks from rows that no model has been trained on: word problems, and multiple choice.

    python benchmarks/local_tasks.py POOL.parquet FOLDER

POOL.parquet has the columns id, instruction, input, response, source, task. The tasks are written to
``FOLDER/tasks`` (``eval.include_path``). The rows whose instruction is in neither task are written to
``FOLDER/train.parquet`` (``corpus.path``).

- ``gsm8k_rows``: generation; the number after "####", as in GSM8K. The pool contains GSM8K's *training* rows, so
  this is not a GSM8K test score.
- ``t0_choices``: multiple choice; prompts of any T0 task that list at least three choices, one of which is the
  response.

A task is a YAML file of ten lines beside a file of rows: copy one, and change the question and the metrics.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pandas as pd

END = "<|endoftext|>"
ROWS = 500  # of a task
COMMON = """\
task: {name}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
doc_to_text: "{{{{instruction}}}}"
num_fewshot: 0
metadata: {{version: 1}}
"""
PROBLEMS = """\
output_type: generate_until
doc_to_target: "{{response}}"
generation_kwargs: {until: ["Question:"], do_sample: false, max_gen_toks: 192}
filter_list:
  - {name: strict, filter: [{function: regex, regex_pattern: "#### (-?[0-9.,]+)"}, {function: take_first}]}
  - name: last
    filter: [{function: regex, regex_pattern: "(-?[0-9][0-9.,]*)", group_select: -1}, {function: take_first}]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    regexes_to_ignore: [",", "[$]", "(?s).*#### ", "[.]$"]
"""
CHOICES = """\
output_type: multiple_choice
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""


def choices_of(instruction: str, response: str) -> tuple[list[str], int] | None:
    """The choices of a prompt, one per line after a dash, and the position of the response among them."""
    choices = [line.strip() for line in re.findall(r"(?m)^[-*] *(\S.*)$", instruction)]
    answer = response.removesuffix(END).strip()
    if len(choices) < 3 or len(set(choices)) < len(choices) or answer not in choices:
        return None
    return choices, choices.index(answer)


def in_order_of_hash(pool: pd.DataFrame) -> pd.DataFrame:
    """One row per instruction, in an order that depends on the instructions only."""
    hashes = pool["instruction"].map(lambda text: hashlib.blake2b(str(text).encode(), digest_size=8).hexdigest())
    return pool.assign(hash=hashes).sort_values(["hash", "id"]).drop_duplicates("hash").drop(columns="hash")


def main() -> None:
    pool, folder = pd.read_parquet(sys.argv[1]), Path(sys.argv[2]).absolute()
    tasks = folder / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    distinct = in_order_of_hash(pool)
    problems = distinct[distinct["source"] == "gsm8k"].head(ROWS)
    found = [
        (row, choices_of(row.instruction, row.response)) for row in distinct[distinct["source"] == "t0"].itertuples()
    ]
    listed = [
        {"id": row.id, "instruction": row.instruction, "task": row.task, "choices": c[0], "gold": c[1]}
        for row, c in found
        if c
    ]
    asked = pd.DataFrame(listed).head(ROWS)
    for name, rows, rest in (("gsm8k_rows", problems, PROBLEMS), ("t0_choices", asked, CHOICES)):
        rows.to_parquet(tasks / f"{name}.parquet", index=False)
        (tasks / f"{name}.yaml").write_text(
            COMMON.format(name=name, rows=tasks / f"{name}.parquet") + rest, encoding="utf-8"
        )
    held = set(problems["instruction"]) | set(asked["instruction"])
    train = pool[~pool["instruction"].isin(held)]
    train.to_parquet(folder / "train.parquet", index=False)
    print(
        f"{len(problems)} problems; {len(asked)} of {len(listed):,} choices, from {asked['task'].nunique()} T0 tasks, "
    )
    print(f"{(1 / asked['choices'].map(len)).mean():.3f} by guessing; {len(train):,} of {len(pool):,} rows to train on")


if __name__ == "__main__":
    main()
