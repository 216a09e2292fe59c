"""The benchmark as lm-eval tasks: multiple choice and generation.

In: items and an empty folder. Out: two task files with their questions beside them, to be found by
``TaskManager(include_path=folder)`` without a network; and how an answer to each is scored
(lm-eval's ``process_results``). The trade: the files name the folder by its absolute path, as
``datasets`` needs it, so a folder that is moved is written again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sftdiv.data.synthetic.benchmark import Item

CHOICE_TASK, GENERATION_TASK = "sftdiv_embedded_mc", "sftdiv_embedded_gen"
QUESTIONS = "items.jsonl"
COMMON = """\
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {questions}}}}}
test_split: test
num_fewshot: 0
metadata: {{version: 1}}
"""
CHOICE = """\
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: choices
doc_to_target: gold
process_results: !function sftdiv.data.synthetic.tasks.score_choices
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: word_probability, aggregation: mean, higher_is_better: true}
"""
GENERATION = """\
output_type: generate_until
doc_to_text: "{{plain_prompt}}"
doc_to_target: "{{plain_answer}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 48}
process_results: !function sftdiv.data.synthetic.tasks.score_answer
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: exact_but_value, aggregation: mean, higher_is_better: true}
"""


def write_tasks(items: Sequence[Item], folder: Path, *, place: Path) -> list[str]:
    """Write both tasks and their questions into ``folder``, which will be read at ``place``; returns the names of the tasks."""
    questions = place.absolute() / QUESTIONS
    (folder / QUESTIONS).write_text("".join(f"{json.dumps(asdict(item))}\n" for item in items), encoding="utf-8")
    for task, rest in ((CHOICE_TASK, CHOICE), (GENERATION_TASK, GENERATION)):
        (folder / f"{task}.yaml").write_text(
            COMMON.format(task=task, questions=json.dumps(str(questions))) + rest, encoding="utf-8"
        )
    return [CHOICE_TASK, GENERATION_TASK]


def score_choices(item: Mapping[str, Any], results: Iterable[tuple[float, bool]]) -> dict[str, float]:
    """Accuracy, and the geometric mean probability of a word of the reference, exp(log-likelihood / words).

    A word rather than a token, so that models with other tokenizers can be compared.
    """
    likelihoods = [likelihood for likelihood, _ in results]
    reference = likelihoods[item["gold"]]
    words = len(item["choices"][item["gold"]].split())
    return {"acc": float(reference == max(likelihoods)), "word_probability": math.exp(reference / words)}


def score_answer(item: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Whether the answer is the reference, and whether it is but for the value: the right form, entity and attribute.

    The second tells a model that answers what it is asked, but does not recall the fact, from one
    that answers something else.
    """
    answer = results[0].strip()
    before, _, after = item["plain_answer"].partition(item["value"])
    frame = answer.startswith(before) and answer.endswith(after) and len(answer) > len(before) + len(after)
    return {"exact_match": float(answer == item["plain_answer"]), "exact_but_value": float(frame)}
