"""Evaluation of a model that has learned four answers by heart: held-out loss, lm-eval tasks, generation."""

import json
import time
from contextlib import nullcontext
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from statsmodels.stats.contingency_tables import mcnemar
from tiny_models import fine_tuning, ref

from sftdiv.config.build import evaluation_options
from sftdiv.config.from_python import compose_run
from sftdiv.evaluation.backends import check_backend
from sftdiv.evaluation.fewshot_check import check_fewshot
from sftdiv.evaluation.harness import mean_score, run_tasks, set_fewshot
from sftdiv.evaluation.heldout import heldout_scores, response_loss
from sftdiv.evaluation.lm_eval_model import language_model
from sftdiv.evaluation.loading import harness_tasks, load_tasks
from sftdiv.evaluation.paired import compare_cells, mcnemar_exact, paired_difference
from sftdiv.evaluation.sample_means import macro_mean, ratio_score
from sftdiv.modeling.chat_labels import label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.generate import generate
from sftdiv.modeling.loss import pad_batch, token_losses
from sftdiv.modeling.read_answer import opens_thought, read_answer
from sftdiv.pipeline.scoring import check_evaluation
from sftdiv.protocols import EvalContext, build_uncached
from sftdiv.records import Heldout, ModelRef, Score, SftdivError
from sftdiv.reporting.paired_scores import main
from sftdiv.storage.cache import Store
from sftdiv.storage.files import finite
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.fine_tune import fine_tune
from sftdiv.training.pretrain import make_model
from sftdiv.training.tokenizer import train_tokenizer

SOUNDS = {"cat": "meow", "dog": "woof", "brown cow": "moo", "duck": "quack"}
TALKS = [
    [{"role": "user", "content": f"What says the {animal}?"}, {"role": "assistant", "content": sound}]
    for animal, sound in SOUNDS.items()
]
SONG = "cock a doodle doo " * 6  # goes on while the others' answers have ended
ROOSTER = [{"role": "user", "content": "What says the rooster?"}, {"role": "assistant", "content": SONG.strip()}]
ALL = {"num_fewshot": None, "limit": None, "batch_size": 3, "chat_template": True, "device": "cpu", "seed": 0}


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    """A model that has learned four short answers and a long one by heart."""
    folder = tmp_path_factory.mktemp("parrot")
    train_tokenizer([turn["content"] for talk in [*TALKS, ROOSTER] for turn in talk], folder / "base", vocab_size=300)
    tokenizer = load_tokenizer(folder / "base")
    make_model(
        ArchitectureConfig(width=32, layers=2, heads=2, mlp_width=64, positions=512), tokenizer, seed=0
    ).save_pretrained(folder / "base")
    fine_tune(
        ref(folder / "base"),
        [*TALKS, ROOSTER],
        [*SOUNDS, "rooster"],
        folder / "model",
        **fine_tuning(epochs=150, batch_size=2, weight_decay=0.0),
    )
    return folder / "model"


TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {items}}}}}
test_split: test
doc_to_text: question
"""
CHOOSE = """\
output_type: multiple_choice
doc_to_choice: sounds
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
"""
SAY = """\
output_type: generate_until
doc_to_target: sound
generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture
def tasks(tmp_path):
    """A folder with a multiple choice and a generation task about the four animals."""
    sounds = list(SOUNDS.values())
    items = [
        {"question": talk[0]["content"], "sounds": sounds, "gold": gold, "sound": sounds[gold]}
        for gold, talk in enumerate(TALKS)
    ]
    (tmp_path / "items.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    for name, rest in (("choose", CHOOSE), ("say", SAY)):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, items=tmp_path / "items.jsonl") + rest)
    return tmp_path


def test_greedy_answers_come_in_the_order_of_the_prompts(parrot):
    prompts = [talk[:1] for talk in TALKS]
    assert generate(parrot, prompts, max_new_tokens=16, max_length=64, device="cpu") == list(SOUNDS.values())
    assert (
        generate(parrot, prompts[::-1], max_new_tokens=16, max_length=64, device="cpu") == list(SOUNDS.values())[::-1]
    )
    assert generate(parrot, [], max_new_tokens=16, max_length=64, device="cpu") == []


def test_tasks_of_a_folder_are_scored_with_standard_errors(parrot, tasks, capfd):
    scores = run_tasks(parrot, ["choose", "say"], include_path=tasks, **ALL)
    gold = ["choose.gold_logprob", "choose.gold_logprob_bytes"]
    assert sorted(scores) == ["choose.acc", "choose.brier_score", *gold, "say.exact_match"]
    assert scores["choose.acc"] == scores["say.exact_match"] == Score(1.0, 0.0)
    assert np.isnan(scores["choose.brier_score"].stderr)  # the harness has none for it
    assert not capfd.readouterr().err


def test_the_chat_format_and_the_limit_reach_the_harness(parrot, tasks):
    asked, bare = (
        run_tasks(parrot, ["choose"], include_path=tasks, **ALL | {"chat_template": chat}) for chat in (True, False)
    )
    assert asked["choose.brier_score"].value < bare["choose.brier_score"].value
    limited = run_tasks(parrot, ["choose"], include_path=tasks, **ALL | {"limit": 1})
    assert np.isnan(limited["choose.acc"].stderr)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """A model that thinks before each answer, in lines that would end one; its end of thought is a token."""
    folder = tmp_path_factory.mktemp("thinker")
    thought = "<think>\nlet me see\n</think>\n\n"
    talks = [[talk[0], {"role": "assistant", "content": thought + talk[1]["content"]}] for talk in TALKS]
    train_tokenizer([turn["content"] for talk in talks for turn in talk], folder / "base", vocab_size=300)
    tokenizer = load_tokenizer(folder / "base")
    make_model(
        ArchitectureConfig(width=32, layers=2, heads=2, mlp_width=64, positions=512), tokenizer, seed=0
    ).save_pretrained(folder / "base")
    fine_tune(ref(folder / "base"), talks, list(SOUNDS), folder / "model", **fine_tuning(epochs=150, weight_decay=0.0))
    return folder / "model"


def test_what_a_model_thinks_is_no_part_of_its_answer(thinker, tasks):
    prompts = [talk[:1] for talk in TALKS]
    assert generate(thinker, prompts, max_new_tokens=48, max_length=64, device="cpu") == list(SOUNDS.values())
    (tasks / "say.yaml").write_text((tasks / "say.yaml").read_text().replace("max_gen_toks: 16", "max_gen_toks: 48"))
    assert run_tasks(thinker, ["say"], include_path=tasks, **ALL)["say.exact_match"] == Score(1.0, 0.0)


def test_thoughts_that_the_prompt_begins_or_that_never_end_leave_no_answer(parrot):
    tokenizer = load_tokenizer(parrot)

    def read(text, begun):
        ids = tokenizer(text)["input_ids"]
        return read_answer(tokenizer, ids, {tokenizer.eos_token_id}, cut=False, begun=begun).text

    assert read("hm\n</think>\n\nmoo", True) == read("moo", False) == "moo"
    assert read("hm, moo", True) == read("<think>hm, moo", False) == ""
    assert opens_thought(tokenizer, tokenizer("Who?<think>\n")["input_ids"])
    assert not opens_thought(tokenizer, tokenizer("Who?")["input_ids"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["</think>"]})  # skipped when tokens are decoded
    assert read("hm</think> moo", False) == "moo"


def test_an_unknown_task_names_the_nearest(parrot, tasks):
    with pytest.raises(SftdivError, match=r"'chose', which is unknown. Did you mean .choose.\? .* has: choose, say"):
        run_tasks(parrot, ["chose"], include_path=tasks, **ALL)


@pytest.mark.parametrize("chat", [True, False])
def test_neither_scores_nor_answers_depend_on_the_batch(parrot, tasks, tmp_path, monkeypatch, chat):
    """Also where the model's own settings do not say which token ends an answer, and it would then begin
    another one."""
    asked = ["quack " * 90 + "What says the duck?", ROOSTER[0]["content"]]
    long = [
        {"question": text, "sounds": ["meow", "quack quack quack", "oink", "moo"], "gold": 1, "sound": "quack"}
        for text in asked
    ]
    with (tasks / "items.jsonl").open("a") as items:
        items.writelines(f"{json.dumps(item)}\n" for item in long)

    how = ALL | {"chat_template": chat}

    def goes_on_after_its_end(*given, **how):
        model, tokenizer = load_model(*given, **how), load_tokenizer(parrot)
        model.generation_config.eos_token_id = None
        model.config.tie_word_embeddings = False
        read = model.get_input_embeddings().weight.detach().clone()
        read[tokenizer.eos_token_id] = read[tokenizer(":\n")["input_ids"][-1]]  # as the end of a prompt
        model.set_input_embeddings(torch.nn.Embedding.from_pretrained(read))
        return model

    monkeypatch.setattr("sftdiv.evaluation.lm_eval_model.load_model", goes_on_after_its_end)
    alone, together = (
        run_tasks(
            parrot, ["choose", "say"], include_path=tasks, samples=tmp_path / str(size), **how | {"batch_size": size}
        )
        for size in (1, 16)
    )
    read = {
        (size, task): pq.read_table(tmp_path / str(size) / f"{task}.parquet")
        for size in (1, 16)
        for task in ("choose", "say")
    }
    likelihoods = [np.concatenate(read[size, "choose"]["log_likelihoods"].to_pylist()) for size in (1, 16)]
    assert len(likelihoods[0]) == 6 * 4
    assert np.abs(likelihoods[0] - likelihoods[1]).max() < 1e-4
    assert read[1, "say"]["response"].to_pylist() == read[16, "say"]["response"].to_pylist()
    assert {name: score.value for name, score in alone.items()} == pytest.approx(
        {name: score.value for name, score in together.items()}
    )
    if chat:
        assert read[1, "say"]["response"].to_pylist()[-1] == SONG[: len(read[1, "say"]["response"].to_pylist()[-1])]
        assert read[16, "say"]["response"].to_pylist()[:4] == list(SOUNDS.values())


def test_a_chat_prompt_is_tokenized_as_in_training(parrot):
    """No special token is put before those of the chat format."""
    tokenizer = load_tokenizer(parrot)
    model = language_model(parrot, backend="hf", batch_size="auto", chat_template=True, device="cpu", seed=0)
    (trained,) = label_conversations(tokenizer, [TALKS[0]], max_length=64)
    prompt, answer = model._encode_pair(model.apply_chat_template(TALKS[0][:1]), "meow")
    assert [*prompt, *answer] == trained.input_ids.tolist()[: len(prompt) + len(answer)]
    assert model.batch_size == 64  # a model this small: as many as the harness takes on a GPU at most


def test_an_answer_takes_no_more_than_half_of_the_positions(parrot, tasks, caplog):
    task = (tasks / "say.yaml").read_text()
    (tasks / "say.yaml").write_text(task.replace("max_gen_toks: 16", "max_gen_toks: 600"))
    scores = run_tasks(parrot, ["say"], include_path=tasks, **ALL)
    assert scores["say.exact_match"].value == 1.0
    assert "answers of 600 tokens; this model has 512 positions" in caplog.text


def test_prompts_are_kept_until_the_data_changes(parrot, tasks, tmp_path):
    made = []
    store = Store(tmp_path / "store")

    def keep(kind, key, build):
        return store.folder(kind, key, lambda folder: (made.append(kind), build(folder, folder)))

    first = run_tasks(parrot, ["choose", "say"], include_path=tasks, keep=keep, **ALL)
    again = run_tasks(parrot, ["choose", "say"], include_path=tasks, keep=keep, **ALL)
    assert first["choose.acc"] == again["choose.acc"] and first["say.exact_match"] == again["say.exact_match"]
    assert made == ["requests", "requests"]
    items = (tasks / "items.jsonl").read_text().replace("What says the cat?", "What says the dog?")
    (tasks / "items.jsonl").write_text(items)
    changed = run_tasks(parrot, ["choose"], include_path=tasks, keep=keep, **ALL)
    assert made == ["requests"] * 3 and changed["choose.acc"].value == 0.75


def test_what_the_model_did_with_each_item_pairs_two_models(parrot, tasks, tmp_path, capsys):
    """Four items by hand: 1, 1, 1, 1 against 0, 1, 0, 1, so differences -1, 0, -1, 0: mean -1/2, variance
    1/3, error sqrt(1/12)."""
    by_hand = paired_difference(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert (by_hand.difference, by_hand.items) == (-0.5, 4)
    assert by_hand.stderr == pytest.approx(12**-0.5)
    assert (by_hand.low, by_hand.high) == pytest.approx((-0.5 - 1.959964 * 12**-0.5, -0.5 + 1.959964 * 12**-0.5))
    alone = paired_difference(np.array([1.0]), np.array([0.0]))
    assert np.isnan(alone.stderr) and finite(asdict(alone))["stderr"] is None
    for cell, how in (("chat", {}), ("bare", {"chat_template": False}), ("less", {"limit": 3})):
        run_tasks(
            parrot, ["choose"], include_path=tasks, samples=tmp_path / cell / "evaluation" / "custom", **ALL | how
        )
    found = compare_cells(tmp_path / "chat", tmp_path / "bare")
    assert found["choose.acc"].first == 1.0 and found["choose.acc"].items == 4
    assert main([str(tmp_path / "chat"), str(tmp_path / "bare"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choose.acc"]["difference"] == found["choose.acc"].difference
    assert found["choose.acc"].exact_p is not None and found["choose.gold_logprob"].exact_p is None
    assert main([str(tmp_path / "chat"), str(tmp_path / "bare"), "--task", "choose"]) == 0
    assert "McNemar p" in capsys.readouterr().out
    assert main([str(tmp_path / "chat"), str(tmp_path / "bare"), "--task", "chose"]) == 1
    assert "no task 'chose' in common. Did you mean 'choose'?" in capsys.readouterr().err
    assert main([str(tmp_path / "chat"), str(tmp_path)]) == 1 and "no task in common" in capsys.readouterr().err
    with pytest.raises(SftdivError, match="no task in common"):
        compare_cells(tmp_path / "chat", tmp_path)
    with pytest.raises(SftdivError, match=r"other items \(4 and 3, of which 3 are the same\)"):
        compare_cells(tmp_path / "chat", tmp_path / "less")


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 0), (0, 1), (5, 5), (2, 11), (40, 61)])
def test_the_exact_test_of_right_and_wrong_equals_that_of_statsmodels(only_first, only_second):
    first = np.array([1.0] * only_first + [0.0] * only_second + [1.0] * 7 + [0.0] * 4)
    second = np.array([0.0] * only_first + [1.0] * only_second + [1.0] * 7 + [0.0] * 4)
    paired = paired_difference(first, second)
    assert (paired.only_first, paired.only_second) == (only_first, only_second)
    assert paired.exact_p == pytest.approx(mcnemar([[7, only_first], [only_second, 4]], exact=True).pvalue)


def test_the_exact_test_by_hand():
    """Six discordant items, split 0 to 6 or 6 to 0 with probability 2/64; 1 to 5 or further out 14/64."""
    assert mcnemar_exact(0, 6) == pytest.approx(2 / 64) and mcnemar_exact(5, 1) == pytest.approx(14 / 64)
    half = paired_difference(np.array([1.0, 0.5]), np.array([0.0, 1.0]))
    assert (half.only_first, half.only_second, half.exact_p) == (None, None, None)


def test_the_primary_score_is_one_that_a_chosen_evaluator_gives_and_only_one(tasks, tmp_path):
    exam = EvalContext(
        heldout=lambda: Heldout([TALKS[0]], ["pet"], ["a"]),
        world_tasks=lambda: tmp_path,
        base=lambda: ModelRef(""),
        positions=lambda: None,
        keep=build_uncached,
        device="cpu",
        max_length=64,
        loss_turns="all",
        folder=tmp_path,
        study=tmp_path,
        cell="cell",
        seed=0,
        columns={},
    )
    custom = ["eval.tasks=[choose,say]", f"eval.include_path={tasks}"]

    def checked(*overrides):
        return check_evaluation(compose_run([*custom, *overrides]).spec, exam)

    assert checked("eval=custom", "eval.primary=choose.acc") == {"primary": "choose.acc", "higher_is_better": True}
    assert checked("eval=custom", "eval.primary=choose.brier_score")["higher_is_better"] is False  # as the task says
    assert checked("eval=[heldout,custom]") == {"primary": "heldout.loss_macro", "higher_is_better": False}
    with pytest.raises(
        SftdivError, match=r"'heldout\.pet\.loss_token' is not among the scores"
    ):  # of a single source: no score of its own
        checked("eval=heldout", "eval.tasks=null", "eval.include_path=null", "eval.primary=heldout.pet.loss_token")
    averaged = ["eval.custom.mean=[choose.acc,say.exact_match]", "eval.primary=custom.mean"]
    assert checked("eval=[heldout,custom]", *averaged) == {"primary": "custom.mean", "higher_is_better": True}
    with pytest.raises(
        SftdivError, match=r"must name the performance score: choose.acc, choose.brier_score, choose.gold_logprob, "
    ):
        checked("eval=custom")
    with pytest.raises(
        SftdivError,
        match=r"'choose.accuracy' is not among the scores: .*heldout.loss_token.* Did you mean 'choose.acc'\?",
    ):
        checked("eval=[heldout,custom]", "eval.primary=choose.accuracy")
    again = ["eval.suite_small.tasks=[say]", "eval.suite_small.mean=[]", f"eval.suite_small.include_path={tasks}"]
    with pytest.raises(SftdivError, match=r"both eval=custom and eval=suite_small return the score say.exact_match"):
        checked("eval=[custom,suite_small]", *again)


def test_a_mean_counts_each_task_once():
    assert mean_score([Score(0.5, 0.03), Score(0.7, 0.04)]) == Score(pytest.approx(0.6), pytest.approx(0.025))


def test_all_tasks_of_the_suites_are_known_and_without_their_data_refused_at_once(composed, tmp_path, monkeypatch):
    """The hub is a port where nobody listens, as without a network."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    harness_tasks()  # to find the harness's 15,000 names takes most of this test
    for name in ("suite_small", "open_llm"):
        (suite,) = evaluation_options(composed(f"eval={name}")).values()
        averaged = [score.split(".")[0] for score in suite.mean]
        assert averaged == list(suite.tasks) and suite.primary == f"{name}.mean"
        started = time.perf_counter()
        with pytest.raises(
            SftdivError, match=rf"task {suite.tasks[0]} .*(HF_HOME.*eval=custom eval.include_path|pip install)"
        ):
            load_tasks(list(suite.tasks), None)
        assert (
            time.perf_counter() - started < 20
        )  # with the retries of the hub's libraries 24 s for each of 57 data sets


def test_a_missing_backend_is_told_before_training():
    with pytest.raises(SftdivError, match=r"needs the package vllm: pip install 'sftdiv\[vllm\]'"):
        check_backend("vllm")
    with pytest.raises(SftdivError, match=r"eval.backend='llamacpp' is unknown. Known: hf, vllm"):
        check_backend("llamacpp")


def test_the_hub_is_asked_only_where_a_task_may_need_it(tasks, monkeypatch):
    asked = []
    monkeypatch.setattr("sftdiv.evaluation.loading.hub_responds", lambda endpoint: bool(asked.append(endpoint)))
    assert list(load_tasks(["choose"], tasks).tasks) == ["choose"] and not asked
    (tasks / "far.yaml").write_text(
        (tasks / "choose.yaml").read_text().replace("dataset_path: json", "dataset_path: some/where")
    )
    assert list(load_tasks(["choose"], tasks).tasks) == ["choose"] and len(asked) == 1


def test_solved_examples_of_one_model_are_not_those_of_the_next(tasks):
    """Tasks of the harness's own are loaded once a process, and a setting of null leaves the number to the task."""
    loaded = load_tasks(["choose"], tasks)
    for given, found in ((None, 0), (2, 2), (None, 0), ({"choose": 1}, 1), ({"say": 1}, 0)):
        set_fewshot(loaded, given, 0)
        assert loaded.tasks["choose"].config.num_fewshot == found


@pytest.mark.parametrize(
    ("count", "split", "problem"),
    [
        (3, "test", None),
        (4, "test", "has 4 documents to take examples from, enough for 3"),
        (4, "validation", None),
        (5, "validation", "has 4 documents to take examples from, enough for 4"),
        ({"say": 9}, "test", "eval.num_fewshot=9: the task say has 4 documents"),
        (-1, "test", "must be at least 0"),
    ],
)
def test_more_solved_examples_than_there_are_is_an_error_before_training(tasks, count, split, problem):
    text = (tasks / "say.yaml").read_text()
    items = tasks / "items.jsonl"
    text = text.replace(f"{{test: {items}}}", f"{{test: {items}, validation: {items}}}")
    (tasks / "say.yaml").write_text(f"{text}validation_split: validation\nfewshot_split: {split}\n")
    loaded = load_tasks(["say"], tasks)
    with pytest.raises(SftdivError, match=problem) if problem else nullcontext():
        check_fewshot(loaded, count)


def test_a_task_whose_own_file_is_missing_says_so(parrot, tasks):
    (tasks / "items.jsonl").unlink()
    with pytest.raises(
        SftdivError, match=r"the task choose cannot be loaded: FileNotFoundError: Unable to find '.*items.jsonl'"
    ):
        run_tasks(parrot, ["choose"], include_path=tasks, **ALL)


def test_the_error_of_a_ratio_by_hand():
    alone = ratio_score(np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 1.0]), np.array([0, 1, 2]))
    assert alone.value == 3.0
    assert alone.stderr == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))
    paired = ratio_score(np.array([1.0, 1.0, 3.0, 3.0]), np.array([1.0, 1.0, 1.0, 1.0]), np.array([5, 5, 9, 9]))
    assert paired == Score(2.0, pytest.approx(np.sqrt(2 * (4 + 4)) / 4))  # as two samples of 1 and 3: sqrt(2) / sqrt(2)
    assert np.isnan(ratio_score(np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.array([7, 7])).stderr)


def test_heldout_loss_is_the_mean_over_tokens_and_over_samples(parrot):
    sources = ["pet", "pet", "farm", "farm"]
    heldout = Heldout(TALKS, sources, list(SOUNDS))
    scores = response_loss(parrot, heldout, batch_size=3, max_length=64, device="cpu")
    model, tokenizer = load_model(parrot, dtype=torch.float32), load_tokenizer(parrot)
    by_hand = []
    for talk in TALKS:
        input_ids, labels = pad_batch(label_conversations(tokenizer, [talk], max_length=64), pad_id=0)
        by_hand.append(token_losses(model, input_ids, labels).detach().numpy())
    assert scores["heldout.loss_token"].value == pytest.approx(np.concatenate(by_hand).mean(), rel=1e-4)
    assert scores["heldout.loss_sample"].value == pytest.approx(
        np.mean([losses.mean() for losses in by_hand]), rel=1e-4
    )
    assert scores["heldout.farm.loss_token"].value == pytest.approx(np.concatenate(by_hand[2:]).mean(), rel=1e-4)
    assert sorted(scores) == sorted(
        f"heldout.{part}loss_{unit}" for part in ("", "farm.", "pet.") for unit in ("token", "sample", "macro")
    )
    assert 0 < scores["heldout.loss_token"].value < 0.1


def test_sources_that_are_never_trained_on_are_scored_apart(parrot):
    how = {"batch_size": 3, "max_length": 64, "device": "cpu"}
    heldout = Heldout(TALKS[:2], ["pet", "pet"], ["a", "b"])
    alone = response_loss(parrot, heldout, **how)
    ood = response_loss(parrot, Heldout(TALKS[2:], ["farm", "farm"], ["c", "d"]), **how)
    scores = response_loss(parrot, heldout, ood=Heldout(TALKS[2:], ["farm", "farm"], ["c", "d"]), **how)
    apart = scores.pop("heldout.ood.farm")
    assert scores.keys() == alone.keys() == {f"heldout.loss_{unit}" for unit in ("token", "sample", "macro")}
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {name: score.value for name, score in alone.items()}, rel=1e-4
    )
    assert apart.value == pytest.approx(ood["heldout.loss_sample"].value, rel=1e-4)
    assert apart.stderr == pytest.approx(ood["heldout.loss_sample"].stderr, rel=1e-3)


def test_heldout_losses_of_two_models_are_paired_by_example(parrot, tmp_path):
    """Three held-out examples, of which two answer one instruction, and one out of distribution; a model and itself."""
    heldout = Heldout(TALKS[:3], ["pet", "pet", "farm"], ["a", "a", "b"])
    ood = Heldout(TALKS[3:], ["zoo"], ["c"])
    for cell in ("first", "second"):
        folder = tmp_path / cell / "evaluation" / "heldout"
        scores = response_loss(parrot, heldout, ood=ood, batch_size=3, max_length=64, device="cpu", samples=folder)
    found = compare_cells(tmp_path / "first", tmp_path / "second")
    assert {name: difference.items for name, difference in found.items()} == {
        "heldout.farm.loss_macro": 1, "heldout.loss_macro": 2, "heldout.ood.zoo": 1, "heldout.pet.loss_macro": 1,
    }  # fmt: skip
    for name, difference in found.items():
        assert difference.first == pytest.approx(scores[name].value) and difference.difference == 0


def test_a_difference_over_strata_gives_each_the_same_weight():
    """Differences 1 and 3 in one stratum, 10 and 10 in the other: means 2 and 10, variances 2 and 0, two items each."""
    paired = paired_difference(np.zeros(4), np.array([1.0, 10.0, 3.0, 10.0]), ["a", "b", "a", "b"])
    assert paired.difference == 6.0 and paired.stderr == pytest.approx(np.sqrt(2 / 2) / 2)


def test_the_macro_loss_gives_each_source_and_each_instruction_the_same_weight():
    """Source a: two instructions, one of them with three long, hard responses. Source b: three easy ones."""
    sums = np.array([30.0, 60.0, 90.0, 1.0, 2.0, 4.0, 6.0])
    counts = np.array([10, 20, 30, 1, 1, 2, 2])  # per token: 3, 3, 3 and 1; 2, 2, 3
    sources = np.array(["a", "a", "a", "a", "b", "b", "b"], dtype=object)
    clusters = np.array([7, 7, 7, 2, 3, 4, 5])
    scores = heldout_scores(sums, counts, sources, clusters)
    assert scores["heldout.a.loss_macro"] == Score(2.0, pytest.approx(1.0))  # of 3 and 1: sd sqrt(2), by sqrt(2)
    assert scores["heldout.b.loss_macro"] == Score(pytest.approx(7 / 3), pytest.approx(1 / 3))
    assert scores["heldout.loss_macro"].value == pytest.approx((2 + 7 / 3) / 2)
    assert scores["heldout.loss_macro"].stderr == pytest.approx(np.sqrt(1 + 1 / 9) / 2)
    assert scores["heldout.loss_token"].value == pytest.approx(193 / 66)  # 62 of 66 tokens are of source a


def test_a_source_of_one_instruction_has_the_pooled_variance():
    one, two = np.array([5.0]), np.array([1.0, 3.0])
    assert macro_mean([one, two]) == Score(3.5, pytest.approx(np.sqrt(2 / 1 + 2 / 2) / 2))
    assert np.isnan(macro_mean([one, one]).stderr) and np.isnan(macro_mean([one]).stderr)


def test_heldout_loss_counts_the_turns_that_are_learned(parrot):
    talk = [*TALKS[0], *TALKS[1]]
    how = {"batch_size": 1, "max_length": 64, "device": "cpu"}
    every, last = (
        response_loss(parrot, Heldout([talk], ["pet"], ["a"]), loss_turns=turns, **how) for turns in ("all", "last")
    )
    model, tokenizer = load_model(parrot, dtype=torch.float32), load_tokenizer(parrot)
    losses = (
        token_losses(model, *pad_batch(label_conversations(tokenizer, [talk], max_length=64), pad_id=0))
        .detach()
        .numpy()
    )
    (final,) = label_conversations(tokenizer, [talk], max_length=64, loss_turns="last")
    assert every["heldout.loss_token"].value == pytest.approx(losses.mean(), rel=1e-4)
    assert last["heldout.loss_token"].value == pytest.approx(losses[-final.label_tokens :].mean(), rel=1e-4)


def test_nothing_held_out_is_an_error(parrot):
    with pytest.raises(SftdivError, match="none of 0 held-out conversations has a response"):
        response_loss(parrot, Heldout([], [], []), batch_size=2, max_length=64, device="cpu")
