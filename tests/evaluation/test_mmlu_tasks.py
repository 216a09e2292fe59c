"""Tasks of ``benchmarks/mmlu_tasks.py`` from a hand-made file of three subjects, scored with a tiny model."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from tiny_models import SHAPE

import sftdiv
from sftdiv.analysis.item_scores import item_scores
from sftdiv.evaluation.gold_likelihood import gold_scores
from sftdiv.evaluation.harness import run_tasks, score_names
from sftdiv.evaluation.loading import load_tasks
from sftdiv.evaluation.task_items import clean_task_scores
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.training.pretrain import make_model
from sftdiv.training.tokenizer import train_tokenizer

SIZES = {"farm_animals": 2, "physics": 3, "zen": 5}
HOW = {"num_fewshot": None, "limit": None, "batch_size": 3, "chat_template": False, "device": "cpu", "seed": 0}


@pytest.fixture(scope="module")
def mmlu_tasks():
    path = Path(sftdiv.__file__).parent.parent / "benchmarks" / "mmlu_tasks.py"
    spec = importlib.util.spec_from_file_location("mmlu_tasks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mmlu():
    """2, 3 and 5 test questions, and six solved ones per subject, of which five are used."""
    return pd.DataFrame(
        {
            "split": split,
            "subject": subject,
            "question": f"{split} {number}?",
            "choices": [f"no {number}", "yes, é", "maybe", f"it is {number * 11}"],
            "answer": number % 4,
        }
        for subject, size in SIZES.items()
        for split, count in (("test", size), ("dev", 6))
        for number in range(count)
    )


@pytest.fixture(scope="module")
def tasks(mmlu_tasks, mmlu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mmlu") / "tasks"
    groups = mmlu_tasks.write_mmlu_tasks(mmlu, folder)
    assert groups == ["mmlu_cloze", "mmlu_cloze_5shot", "mmlu_letter", "mmlu_letter_5shot"]
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, mmlu):
    folder = tmp_path_factory.mktemp("model")
    train_tokenizer([*mmlu["question"], *mmlu["choices"].map(" ".join)], folder, vocab_size=300)
    make_model(replace(SHAPE, positions=1024), load_tokenizer(folder), seed=0).save_pretrained(folder)
    return folder


def prompt(tasks, group):
    task = load_tasks([group], tasks).tasks[f"{group}_farm_animals"]
    return task.fewshot_context(task.eval_docs[1], task.config.num_fewshot), task.doc_to_choice(task.eval_docs[1])


def test_prompts_equal_those_of_the_model_cards_and_of_the_paper(tasks):
    cloze, choices = prompt(tasks, "mmlu_cloze")
    assert cloze == "The following are questions about farm animals.\nQuestion: test 1?\nAnswer:"
    assert choices == ["no 1", "yes, é", "maybe", "it is 11"]
    solved = "".join(
        f"Question: dev {number}?\nAnswer: {answer}\n\n"
        for number, answer in enumerate(["no 0", "yes, é", "maybe", "it is 33", "no 4"])
    )
    five, _ = prompt(tasks, "mmlu_cloze_5shot")
    assert five == f"The following are questions about farm animals.\n{solved}Question: test 1?\nAnswer:"
    letter, choices = prompt(tasks, "mmlu_letter")
    head = "The following are multiple choice questions (with answers) about farm animals.\n\n"
    assert letter == f"{head}test 1?\nA. no 1\nB. yes, é\nC. maybe\nD. it is 11\nAnswer:"
    assert choices == ["A", "B", "C", "D"]
    solved = "".join(
        f"dev {number}?\nA. no {number}\nB. yes, é\nC. maybe\nD. it is {11 * number}\nAnswer: {'ABCDA'[number]}\n\n"
        for number in range(5)
    )
    assert prompt(tasks, "mmlu_letter_5shot")[0] == f"{head}{solved}{letter.removeprefix(head)}"


@pytest.mark.parametrize("group", ["mmlu_cloze", "mmlu_letter_5shot"])
def test_a_group_is_the_mean_over_items_and_the_right_answer_has_the_models_log_likelihood(
    tasks, model, mmlu, tmp_path, group
):
    scores = run_tasks(model, [group], include_path=tasks, samples=tmp_path / "cell/evaluation/custom", **HOW)
    loaded, network, tokenizer = (
        load_tasks([group], tasks),
        load_model(model, dtype=torch.float32),
        load_tokenizer(model),
    )
    by_hand = []
    for subject in SIZES:
        task = loaded.tasks[f"{group}_{subject}"]
        for item in task.eval_docs:
            prefix = tokenizer(task.fewshot_context(item, task.config.num_fewshot))["input_ids"]
            answer = " " + task.doc_to_choice(item)[item["answer"]]
            whole = tokenizer(task.fewshot_context(item, task.config.num_fewshot) + answer)["input_ids"]
            logits = network(torch.tensor([whole])).logits[0].detach().log_softmax(dim=-1)
            by_hand.append(sum(float(logits[at - 1, whole[at]]) for at in range(len(prefix), len(whole))))
    assert len(by_hand) == 10
    assert scores[f"{group}.gold_logprob"].value == pytest.approx(np.mean(by_hand), abs=1e-4)
    rows = pq.read_table(tmp_path / f"cell/evaluation/custom/{group}.parquet").to_pandas()
    assert rows["metric.gold_logprob"].to_numpy() == pytest.approx(by_hand, abs=1e-4)
    assert rows["item"].tolist() == list(range(10)) and rows["task"].nunique() == 3
    for metric in ("acc", "gold_logprob_bytes"):
        assert scores[f"{group}.{metric}"].value == pytest.approx(rows[f"metric.{metric}"].mean())
    means = [scores[f"{group}_{subject}.gold_logprob"].value for subject in SIZES]
    assert scores[f"{group}.gold_logprob"].value == pytest.approx(np.average(means, weights=list(SIZES.values())))
    assert math.isfinite(scores[f"{group}.gold_logprob"].stderr) and scores[f"{group}.gold_logprob"].stderr > 0
    touched = {f"{group}_physics": frozenset({0, 2})}  # positions 2 and 4 of the group
    clean = clean_task_scores(tmp_path / "cell/evaluation/custom", touched, scores)
    others = rows["metric.gold_logprob"].drop([2, 4])
    assert clean[f"{group}.gold_logprob.clean"].value == pytest.approx(others.mean())
    assert clean[f"{group}_physics.gold_logprob.clean"].value == pytest.approx(rows["metric.gold_logprob"][3])
    assert f"{group}_zen.gold_logprob.clean" not in clean
    cells = pd.DataFrame(
        {"cell": ["cell"], "primary": [f"{group}.acc"], "performance": scores[f"{group}.acc"].value}
    ).assign(higher_is_better=True)
    assert item_scores(cells, tmp_path).tolist() == [rows["metric.acc"].tolist()]


def test_the_likelihood_per_byte_by_hand():
    assert gold_scores([-1.0, -6.0], 1, "é!") == {"gold_logprob": -6.0, "gold_logprob_bytes": -2.0}


def test_tasks_with_a_rule_of_their_own_or_several_answers_stay_as_they_are(tasks, tmp_path):
    text = (tasks / "mmlu_cloze" / "zen.yaml").read_text(encoding="utf-8")
    (tmp_path / "rule.py").write_text("def score(item, results):\n    return {'acc': 1.0}\n")
    (tmp_path / "own.yaml").write_text(
        text.replace("mmlu_cloze_zen", "own") + "process_results: !function rule.score\n", encoding="utf-8"
    )
    several = text.replace("mmlu_cloze_zen", "several").replace('"answer"', '"{{[0, 1]}}"')
    (tmp_path / "several.yaml").write_text(several, encoding="utf-8")
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    names = score_names(load_tasks(["own", "several", "mmlu_cloze_zen"], tmp_path))
    gold = {name: higher for name, higher in names.items() if "gold" in name}
    assert gold == {"mmlu_cloze_zen.gold_logprob": True, "mmlu_cloze_zen.gold_logprob_bytes": True}


def test_a_sample_has_each_subject_in_proportion_and_a_smaller_one_is_part_of_a_larger(mmlu_tasks):
    test = pd.DataFrame(
        {"subject": subject, "question": f"{subject} {number}", "choices": ["a", "b"]}
        for subject, size in {"history": 60, "law": 30, "zen": 10}.items()
        for number in range(size)
    )
    small, large = (mmlu_tasks.stratified_sample(test, items) for items in (20, 50))
    assert small["subject"].value_counts().to_dict() == {"history": 12, "law": 6, "zen": 2}
    assert large["subject"].value_counts().to_dict() == {"history": 30, "law": 15, "zen": 5}
    assert set(small["question"]) < set(large["question"])
    shuffled = mmlu_tasks.stratified_sample(test.sample(frac=1.0, random_state=0), 20)
    assert set(shuffled["question"]) == set(small["question"])
    for items in (19, 101):
        with pytest.raises(SystemExit, match=rf"--items {items} must be in \[20, 100\]"):
            mmlu_tasks.stratified_sample(test, items)
