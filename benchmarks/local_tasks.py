"""lm-eval tasks from local files: MMLU, or word problems and multiple choice from rows of the pool.

    python benchmarks/local_tasks.py mmlu MMLU.parquet FOLDER [--items 1000]     # mmlu_tasks.py says what is written
    python benchmarks/local_tasks.py pool POOL.parquet FOLDER

POOL.parquet has the columns id, instruction, input, response, source, task. The tasks are written to
``FOLDER/tasks`` (``eval.include_path``). The rows that tell no item's answer are written to ``FOLDER/train.parquet``
(``corpus.path``): without those of an item's instruction, of near-duplicate instructions, and those that share the
answer and a passage or question with an item under another template (eight words in a row that at most 64
instructions hold). The output says how many items would be told without the last two rules.

- ``gsm8k_rows``: generation; the number after "####", as in GSM8K. The pool contains GSM8K's *training* rows, so
  this is not a GSM8K test score.
- ``t0_choices``: multiple choice; prompts of any T0 task that list at least three choices, one of which is the
  response.

A task is a YAML file of ten lines beside a file of rows: copy one, and change the question and the metrics.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from mmlu_tasks import write_mmlu_tasks
from numpy.typing import NDArray

from sftdiv.data.dedup import near_duplicates
from sftdiv.data.overlap_words import OverlapWords

END = "<|endoftext|>"
ROWS = 500  # of a task
NGRAM, RARE = 8, 64  # words, and instructions: a more frequent n-gram belongs to a template
NEAR = {"threshold": 0.5, "unit": "words", "shingle": 5, "permutations": 128, "recall": 0.95, "seed": 0}
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


class Told:
    """Finds the rows of a pool that tell the answer of an item under another template.

    Args:
        pool: All rows; an n-gram that more than `RARE` of their instructions hold belongs to a template.
    """

    def __init__(self, pool: pd.DataFrame) -> None:
        words = OverlapWords()
        self._grams = {text: ngrams(words(text)) for text in pool["instruction"].unique()}
        distinct, counts = np.unique(np.concatenate(list(self._grams.values())), return_counts=True)
        self._rare = distinct[counts <= RARE]

    def by(self, items: pd.DataFrame, rows: pd.DataFrame) -> NDArray[np.bool_]:
        """Mask of the rows that share the answer and a rare n-gram with an item, shape (rows,)."""
        of_items = {pair for pairs in self._pairs(items, self._rare) for pair in pairs}
        wanted = np.unique(np.array([gram for gram, _ in of_items], dtype=np.uint64))
        return np.array([not of_items.isdisjoint(pairs) for pairs in self._pairs(rows, wanted)], dtype=bool)

    def _pairs(self, rows: pd.DataFrame, wanted: NDArray[np.uint64]) -> Iterator[set[tuple[int, str]]]:
        """The wanted n-grams of each row, each with the row's answer."""
        for text, answer in zip(rows["instruction"], rows["response"].map(answer_of), strict=True):
            grams = self._grams[text]
            at = np.minimum(np.searchsorted(wanted, grams), max(len(wanted) - 1, 0))
            yield {(gram, answer) for gram in grams[wanted[at] == grams].tolist()} if len(wanted) else set()


def answer_of(response: str) -> str:
    """A response without end mark, case and spacing."""
    return " ".join(response.removesuffix(END).casefold().split())


def ngrams(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Distinct hashes of the n-grams of a text, shape (n-grams,)."""
    count = max(len(words) - NGRAM + 1, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for step in range(NGRAM):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + words[step : count + step]
    return np.unique(hashes)


def write_pool_tasks(pool: pd.DataFrame, folder: Path) -> None:
    tasks = folder / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    distinct = in_order_of_hash(pool)
    problems = distinct[distinct["source"] == "gsm8k"].head(ROWS)
    found = [
        (row, choices_of(row.instruction, row.response)) for row in distinct[distinct["source"] == "t0"].itertuples()
    ]
    listed = [
        {
            "id": row.id,
            "instruction": row.instruction,
            "response": row.response,
            "task": row.task,
            "choices": c[0],
            "gold": c[1],
        }
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
    is_item = pool["instruction"].isin(held)
    groups = pd.Series(near_duplicates(pool["instruction"], **NEAR).group, index=pool.index)
    is_near = groups.isin(set(groups[is_item]))
    items = pd.concat([problems, asked])
    told = Told(pool)
    is_told = told.by(items, pool)
    train = pool[~is_item & ~is_near & ~is_told]
    print(
        f"{is_item.sum():,} rows of the items' instructions, {(is_near & ~is_item).sum():,} of near duplicates and "
        f"{(is_told & ~is_near & ~is_item).sum():,} with a shared passage and answer are left out"
    )
    alone, now = (told.by(rows, items).sum() for rows in (pool[~is_item], train))
    print(f"items whose answer is told in training: {alone} where only their instructions are left out, {now} now")
    train.to_parquet(folder / "train.parquet", index=False)
    print(
        f"{len(problems)} problems; {len(asked)} of {len(listed):,} choices, from {asked['task'].nunique()} T0 tasks, "
    )
    print(f"{(1 / asked['choices'].map(len)).mean():.3f} by guessing; {len(train):,} of {len(pool):,} rows to train on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("mmlu", "pool"))
    parser.add_argument("rows", type=pd.read_parquet, metavar="FILE.parquet")
    parser.add_argument("folder", type=lambda text: Path(text).absolute(), metavar="FOLDER")
    parser.add_argument(
        "--items", type=int, help="mmlu: test questions in a fixed sample over all subjects; all if left out"
    )
    options = parser.parse_args()
    if options.kind == "pool":
        write_pool_tasks(options.rows, options.folder)
        return
    groups = write_mmlu_tasks(options.rows, options.folder / "tasks", items=options.items)
    settings = f"eval.tasks=[{groups[0]}] eval.primary={groups[0]}.acc_norm eval.chat_template=false"
    print(f"eval=custom eval.include_path={options.folder / 'tasks'} {settings}")
    print(f"groups: {', '.join(groups)}")


if __name__ == "__main__":
    main()
