"""The benchmark as lm-eval tasks, multiple choice and generation, and how their answers are scored.

Two task files and their questions are written into a folder, where ``TaskManager(include_path=folder)``
finds them without a network. The files name the questions by absolute path, as ``datasets`` needs, so a
folder that is moved must be written again.
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


def write_tasks(items: Sequence[Item], folder: Path, *, final_folder: Path) -> list[str]:
    """Write both tasks and their questions.

    Args:
        items: Questions.
        folder: Existing folder to write into.
        final_folder: Folder that the files will be read from; another one if ``folder`` is renamed later.

    Returns:
        Names of the tasks.
    """
    questions = final_folder.absolute() / QUESTIONS
    (folder / QUESTIONS).write_text("".join(f"{json.dumps(asdict(item))}\n" for item in items), encoding="utf-8")
    for task, rest in ((CHOICE_TASK, CHOICE), (GENERATION_TASK, GENERATION)):
        (folder / f"{task}.yaml").write_text(
            COMMON.format(task=task, questions=json.dumps(str(questions))) + rest, encoding="utf-8"
        )
    return [CHOICE_TASK, GENERATION_TASK]


def score_choices(item: Mapping[str, Any], results: Iterable[tuple[float, bool]]) -> dict[str, float]:
    """``process_results`` of the choice task: accuracy, and the mean probability of a word of the reference.

    The latter is geometric, exp(log-likelihood / words). It is per word and not per token, so that
    models with different tokenizers can be compared.

    Args:
        item: An `Item` as a mapping.
        results: Log-likelihood of each choice in nats, and whether it is the greedy continuation.
    """
    likelihoods = [likelihood for likelihood, _ in results]
    reference = likelihoods[item["gold"]]
    words = len(item["choices"][item["gold"]].split())
    return {"acc": float(reference == max(likelihoods)), "word_probability": math.exp(reference / words)}


def score_answer(item: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """``process_results`` of the generation task: exact match, and exact match apart from the value.

    The second separates a model that answers the question with a wrong fact (right form, entity and
    attribute) from one that answers something else.

    Args:
        item: An `Item` as a mapping.
        results: The generated text, as a list of one.
    """
    answer = results[0].strip()
    before, _, after = item["plain_answer"].partition(item["value"])
    frame_matches = answer.startswith(before) and answer.endswith(after) and len(answer) > len(before) + len(after)
    return {"exact_match": float(answer == item["plain_answer"]), "exact_but_value": float(frame_matches)}
