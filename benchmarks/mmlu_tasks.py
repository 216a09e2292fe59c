"""MMLU as lm-eval tasks from one local file, in two forms, zero- and five-shot, per subject and as groups.

    python benchmarks/local_tasks.py mmlu MMLU.parquet FOLDER [--items 1000]

MMLU.parquet has the columns split (test, dev), subject, question, choices and answer (Hendrycks et al. 2021, arXiv
2009.03300; MIT). ``FOLDER/tasks`` (``eval.include_path``) then holds four groups of 57 tasks:

- ``mmlu_cloze``, ``mmlu_cloze_5shot``: the answers' texts as continuations of the question; the form in which small
  models are scored, since they do not yet connect letters with answers. The prompt is ``mmlu_cloze_prompt`` of
  huggingface/smollm, ``text/evaluation/tasks.py``, which the model cards of SmolLM2 use.
- ``mmlu_letter``, ``mmlu_letter_5shot``: the choices in the prompt and a letter as answer, as in the paper and in
  lm-eval's ``mmlu``.

Few-shot examples are the first five questions of the subject's dev split. A group's score is the mean over its items.
``acc_norm`` divides the log-likelihood by the characters of the answer, as the model cards do
(``loglikelihood_acc_norm_nospace`` of lighteval), ``acc_bytes`` by its UTF-8 bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

LETTERS = ["A", "B", "C", "D"]
SHOTS = {"": 0, "_5shot": 5}
FORMS = {
    "cloze": {
        "description": "The following are questions about {subject}.\n",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "metrics": ["acc_norm", "acc_bytes", "acc"],
    },
    "letter": {
        "description": "The following are multiple choice questions (with answers) about {subject}.\n\n",
        "doc_to_text": "{{question.strip()}}\n"
        + "".join(f"{letter}. {{{{choices[{at}]}}}}\n" for at, letter in enumerate(LETTERS))
        + "Answer:",
        "doc_to_choice": LETTERS,
        "metrics": ["acc"],
    },
}


def write_mmlu_tasks(mmlu: pd.DataFrame, folder: Path, *, items: int | None = None) -> list[str]:
    """Write the tasks and their rows.

    Args:
        mmlu: All questions of both splits.
        folder: Folder of the tasks.
        items: Number of test questions; None for all.

    Returns:
        Names of the groups.
    """
    test, dev = mmlu[mmlu["split"] == "test"], mmlu[mmlu["split"] == "dev"]
    if items is not None:
        test = stratified_sample(test, items)
    subjects = sorted(test["subject"].unique())
    rows = folder / "mmlu_rows"
    rows.mkdir(parents=True, exist_ok=True)
    for subject in subjects:
        for split, table in (("test", test), ("dev", dev)):
            of_subject = table[table["subject"] == subject].drop(columns="split")
            of_subject.to_parquet(rows / f"{subject}.{split}.parquet", index=False)
    groups = []
    for form, settings in FORMS.items():
        for suffix, shots in SHOTS.items():
            group = f"mmlu_{form}{suffix}"
            (folder / group).mkdir(exist_ok=True)
            for subject in subjects:
                task = task_settings(f"{group}_{subject}", subject, settings, shots, rows.absolute())
                write_yaml(folder / group / f"{subject}.yaml", task)
            tasks = [f"{group}_{subject}" for subject in subjects]
            write_yaml(folder / group / "_group.yaml", group_settings(group, tasks, settings["metrics"]))
            groups.append(group)
    return groups


def task_settings(name: str, subject: str, form: dict, shots: int, rows: Path) -> dict:
    """Settings of the task of one subject."""
    return {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {
            "data_files": {split: str(rows / f"{subject}.{split}.parquet") for split in ("test", "dev")}
        },
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": shots,
        "output_type": "multiple_choice",
        "description": form["description"].format(subject=subject.replace("_", " ")),
        "doc_to_text": form["doc_to_text"],
        "doc_to_choice": form["doc_to_choice"],
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in form["metrics"]
        ],
        "metadata": {"version": 1},
    }


def group_settings(name: str, tasks: list[str], metrics: list[str]) -> dict:
    """Settings of the group of all subjects; weighted by size, the mean over subjects is the mean over items."""
    return {
        "group": name,
        "task": tasks,
        "aggregate_metric_list": [{"metric": metric, "weight_by_size": True} for metric in metrics],
        "metadata": {"version": 1},
    }


def write_yaml(path: Path, settings: dict) -> None:
    """One setting a line; a JSON value is a YAML value."""
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()), encoding="utf-8")


def stratified_sample(test: pd.DataFrame, items: int) -> pd.DataFrame:
    """The same questions on every machine, each subject with its share (largest remainders), in their order.

    A subject's questions are taken in the order of a hash of their text, so that a smaller sample is part of a larger
    one but for rounding. Each subject needs two, so that its standard error exists.
    """
    sizes = test["subject"].value_counts().sort_index()
    least = math.ceil(2 * len(test) / sizes.min())
    if not least <= items <= len(test):
        raise SystemExit(f"--items {items} must be in [{least}, {len(test)}]: a subject needs at least two questions")
    exact = sizes * (items / len(test))
    quotas = np.floor(exact).astype(int)
    remainders = (exact - quotas).sort_values(ascending=False, kind="stable").index
    quotas[remainders[: items - quotas.sum()]] += 1
    keys = test["question"] + "\n" + test["choices"].map("\n".join)
    hashes = keys.map(lambda text: hashlib.blake2b(text.encode(), digest_size=8).hexdigest())
    ranks = hashes.groupby(test["subject"]).rank(method="first")
    return test[ranks <= test["subject"].map(quotas)]
