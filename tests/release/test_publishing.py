"""What a finished model's folder says of itself, that anything that reads the hub's format can use it, and
its way to a hub.

The hub is a server on this machine (`hub_server`). huggingface_hub reads its address once, at
import, so uploads run in processes of their own.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_hub_server import TOKEN, Hub, Repository, serving
from huggingface_hub import ModelCard
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from sftdiv.config.from_python import compose_run
from sftdiv.modeling.chat_labels import end_token, label_conversations
from sftdiv.modeling.checkpoint import load_tokenizer, save_checkpoint
from sftdiv.pipeline.publish import check_distinct_targets, write_card
from sftdiv.records import SftdivError
from sftdiv.release.hub.card import write_model_card
from sftdiv.release.hub.push import repository
from sftdiv.release.hub.reproduce_command import command_of
from sftdiv.storage.cell import Cell, flatten
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.pretrain import make_model
from sftdiv.training.tokenizer import train_tokenizer

TALK = [{"role": "user", "content": "the cow"}, {"role": "assistant", "content": "says moo"}]
TURN_END = "<|end|>"  # what ends a turn is here, as in many chat formats, not what ends a text
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ROW = {
    "cell": "micro_token-response-n200-d0.5-tiny-s0-h1f58f5",
    "kind": "level",
    "strategy": "micro_token",
    "side": "response",
    "level": 0.5,
    "match": "none",
    "seed": 0,
    "n": 200,
    "corpus_hash": "b30f98c3",
    "corpus.count.examples": 1500,
    "k_min": 132,
    "k_max": 441,
    "k_asked": 286,
    "k_reached": 285,
    "pool": 839,
    "universe": 1425,
    "subset.response_words": 12.43,
    "subset.share.gsm8k": 0.25,
    "subset.share.t0": 0.75,
    "diversity.instruction.entropy": 7.22,
    "diversity.response.entropy": 6.961,
    "diversity.units.types": 286,
    "train.steps": 13,
    "train.tokens": 10441,
    "train.label_tokens": 4969,
    "train.loss": 5.602,
    "primary": "facts.acc",
    "higher_is_better": True,
    "score.facts.acc": 0.25,
    "score.facts.acc.stderr": 0.125,
    "score.gsm8k.exact_match.strict-match": 0.5,
    "score.gsm8k.exact_match.strict-match.stderr": math.nan,
    "versions.sftdiv": "0.1.0",
    "versions.torch": "2.13.0",
    "config_hash": "1f58f5",
}
UNSCORED = {name: value for name, value in ROW.items() if not name.startswith("score.")} | {
    "primary": None,
    "higher_is_better": None,
}
KEPT = (
    "cell",
    "kind",
    "match",
    "seed",
    "n",
    "corpus_hash",
    "corpus.count.examples",
    "primary",
    "higher_is_better",
    "versions.sftdiv",
)
BASE = {name: UNSCORED[name] for name in (*KEPT, "config_hash")} | {"kind": "base", "n": 0, "train.steps": 0}
COMMAND = "python -m sftdiv.run strategy=micro_token diversity_level=0.5 size.n=200"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that has learned one answer by heart, saved as a training saves it."""
    folder = tmp_path_factory.mktemp("made")
    train_tokenizer(["the cow says moo"], folder / "tokenizer", vocab_size=300)
    tokenizer = load_tokenizer(folder / "tokenizer", template=TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>", TURN_END]})
    shape = ArchitectureConfig(width=16, layers=1, heads=2, mlp_width=32, positions=64)
    learner = make_model(shape, tokenizer, seed=0)
    (example,) = label_conversations(tokenizer, [TALK], max_length=64)
    ids, labels = torch.tensor(example.input_ids)[None], torch.tensor(example.labels)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(learner(ids).logits[0, :-1], labels[1:]).backward()
        optimizer.step()
    learner.generation_config.eos_token_id = end_token(tokenizer)
    learner.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(learner, tokenizer, folder / "model")
    return folder / "model"


@pytest.fixture
def settings(composed):
    """The settings of a run, as config.yaml holds them."""

    def of(*overrides):
        return OmegaConf.to_container(composed(*overrides), resolve=True)

    return of


@pytest.fixture
def card(tmp_path, settings):
    """Writes a card of a row with a command's settings, and reads it as the hub does."""

    def of(row, *overrides):
        return ModelCard.load(
            write_model_card(tmp_path, row | flatten({"config": settings(*overrides)}), command=COMMAND),
            ignore_metadata_errors=False,
        )

    return of


# The card


def test_the_cards_metadata_has_the_hubs_form(card):
    assert card(ROW, "model=smollm2_135m", "corpus=hub", "corpus.path=yahma/alpaca-cleaned").data.to_dict() == {
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "base_model_relation": "finetune",
        "datasets": ["yahma/alpaca-cleaned"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["sftdiv", "sft", "data-diversity", "micro_token"],
        "model-index": [
            {
                "name": ROW["cell"],
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "facts", "type": "facts"},
                        "metrics": [{"type": "acc", "value": 0.25}, {"type": "acc_stderr", "value": 0.125}],
                    },
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "gsm8k", "type": "gsm8k"},
                        "metrics": [{"type": "exact_match.strict-match", "value": 0.5}],
                    },
                ],
            }
        ],
    }


def test_held_out_loss_is_a_score_on_the_corpus_and_its_sources_are_for_readers(card):
    scores = {
        "score.heldout.loss_token": 2.0,
        "score.heldout.t0.loss_token": 3.0,
        "score.heldout.gsm8k.loss_token": None,
    }
    written = card(
        UNSCORED | scores | {"primary": "heldout.loss_token"}, "corpus=hub", "corpus.path=me/mine", "model=smollm2_135m"
    )
    (result,) = written.data.eval_results
    assert (result.dataset_type, result.dataset_split, result.metric_type, result.metric_value) == (
        "me/mine",
        "heldout",
        "loss_token",
        2.0,
    )
    assert re.findall(r"\| heldout.*", written.text) == [
        "| heldout.loss\\_token (primary) | 2 |  |",
        "| heldout.t0.loss\\_token | 3 |  |",
    ]


def test_what_a_judge_cost_is_no_score(card):
    scores = {
        "score.judge.win_rate": 0.625,
        "score.judge.win_rate.stderr": 0.125,
        "score.judge.calls": 404.0,
        "score.judge.cost": 1.5,
    }
    written = card(UNSCORED | scores | {"primary": "judge.win_rate"})
    assert [(result.metric_type, result.metric_value) for result in written.data.eval_results] == [
        ("win_rate", 0.625),
        ("win_rate_stderr", 0.125),
    ]
    assert re.findall(r"\| judge.*", written.text) == ["| judge.win\\_rate (primary) | 0.625 | ± 0.125 |"]


def test_the_card_tells_what_was_done(card):
    lines = card(ROW, "data.packing=true").text.splitlines()
    assert lines[1] == f"# {ROW['cell']}"
    for line in (
        "| trained on | 200 examples, selected by `micro_token` on the response at diversity level 0.5 "
        "(0 is least, 1 is most) |",
        "| types of units | k = 286 of 441 requested, 285 reached |",
        "| drawn from | a pool of 839 in a universe of 1,425 examples |",
        "| entropy | 7.22 | 6.961 |",
        "| longest conversation | 192 tokens, packed |",
        "| length | 4 epochs of 16 conversations per step |",
        "| learning rate | 0.002, cosine after 5 % warm-up |",
        "| label tokens | 4,969 |",
        "| final loss, nats per label token | 5.602 |",
        "| facts.acc (primary) | 0.25 | ± 0.125 |",
        "The primary score is the one that the study compares. Higher is better.",
        COMMAND,
        "sftdiv 0.1.0, torch 2.13.0. Settings `1f58f5`.",
    ):
        assert line in lines
    assert lines.index("| t0 | 75 % |") < lines.index("| gsm8k | 25 % |")
    assert any("`subset.parquet`, next to the original of this folder" in line for line in lines)


def test_the_card_of_a_run_without_evaluation_has_no_scores(card):
    written = card(UNSCORED, "eval=none")
    assert "model-index" not in written.data.to_dict() and "The model was not evaluated." in written.text


def test_the_card_of_a_base_says_that_nothing_was_trained(card):
    written = card(BASE, "size=none", "model=smollm2_135m")
    assert written.data.to_dict()["base_model"] == "HuggingFaceTB/SmolLM2-135M"
    assert "base_model_relation" not in written.data.to_dict()
    assert "unchanged: no weight was trained" in written.text
    assert "## Training" not in written.text and "subset.parquet" not in written.text


def test_the_card_of_an_adapter_is_for_peft(card, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    written = card(ROW, "train=lora", "train.adapter.merge=false", "model=smollm2_135m")
    data = written.data.to_dict()
    assert (data["library_name"], data["base_model_relation"], data["tags"][-1]) == ("peft", "adapter", "lora")
    assert "needs peft" in written.text and "--enable-lora" in written.text
    assert "| method | LoRA, rank 16, alpha 32, dropout 0, on all-linear; saved as an adapter |" in written.text


def test_of_a_merged_adapter_the_card_is_that_of_a_whole_model(card):
    written = card(ROW, "train=qlora", "model=smollm2_135m")
    assert written.data.to_dict()["library_name"] == "transformers"
    assert "on all-linear, base quantized to nf4; merged into the weights |" in written.text


@pytest.mark.parametrize(
    ("kind", "told"), [("full", "all 200 selectable examples"), ("random", "200 examples, drawn uniformly")]
)
def test_a_baseline_is_called_what_it_is(card, kind, told):
    text = card(ROW | {"kind": kind}).text
    assert f"| trained on | {told} |" in text and "types of units" not in text


def test_the_columns_of_a_ladder_may_be_missing(card):
    text = card({name: value for name, value in ROW.items() if not name.startswith("k_") and name != "pool"}).text
    assert "types of units" not in text and "| drawn from | a universe of 1,425 examples |" in text


def test_a_local_base_and_a_kind_of_file_are_no_names_on_the_hub(card, tmp_path):
    data = card(ROW, "model=smollm2_135m", f"model.path={tmp_path}", "corpus=hub", "corpus.path=json").data.to_dict()
    assert "base_model" not in data and "datasets" not in data


def test_names_from_data_cannot_break_the_card(card):
    text = card(ROW | {"subset.share.a|b\n# <script>": 1.0}).text
    assert "| a\\|b \\# &lt;script> | 100 % |" in text and "<script>" not in text


def test_the_command_leaves_out_where_things_are_kept():
    overrides = [
        "strategy=micro_token",
        "diversity_level=1/2",
        "paths.cache=/home/me",
        "hydra/launcher=joblib",
        "+export.format=alpaca",
    ]
    assert (
        command_of([*overrides, "train.push_to_hub=me/m"])
        == "python -m sftdiv.run strategy=micro_token diversity_level=1/2"
    )
    assert command_of(["+experiment=paper_grid", "size=1k", "corpus.path=my data.json"]) == (
        "python -m sftdiv.run +experiment=paper_grid size=1k 'corpus.path=my data.json' hydra.mode=RUN"
    )


def test_without_a_command_the_card_points_to_the_runs_settings(tmp_path):
    cell = Cell("study", ROW["cell"], tmp_path / "my cell", "1f58f5")
    request = replace(compose_run([]), command="")
    write_card(request, cell, ROW | flatten({"config": request.settings}))
    command = f"python -m sftdiv.run --config-path '{tmp_path}/my cell' --config-name config"
    assert command in (tmp_path / "my cell" / "model" / "README.md").read_text(encoding="utf-8").splitlines()


def test_the_card_lists_a_familys_summary_without_its_details(tmp_path):
    ratios = {
        f"diversity.{side}.{name}": 0.25
        for side in ("instruction", "response")
        for name in ("ngram_ratio", "ngram_ratio_2", "ngram_ratio_3")
    }
    request = compose_run([])
    row = ROW | ratios | flatten({"config": request.settings})
    write_card(request, Cell("study", ROW["cell"], tmp_path, "1f58f5"), row)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "| ngram_ratio |" in card and "| ngram_ratio_2 |" in card and "ngram_ratio_3" not in card


# The folder


def test_transformers_answers_with_the_folder_alone_and_stops_at_the_end_of_the_turn(model):
    tokenizer, learned = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    prompt = tokenizer.apply_chat_template(TALK[:1], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = learned.generate(**prompt, do_sample=False, max_new_tokens=30)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "says moo<|end|>"
    assert tokenizer.eos_token != TURN_END  # so that the stop comes from the generation config
    (said,) = pipeline("text-generation", model=str(model), device="cpu")(TALK[:1], do_sample=False, max_new_tokens=30)
    assert said["generated_text"][-1] == TALK[1]


@pytest.fixture
def adapter(model, tmp_path):
    """An adapter for that model as it was before it knew how an answer ends, which says in its own files
    what ends one."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(model, base)
    (base / "generation_config.json").write_text("{}")
    tokenizer, learned = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    ending = learned.generation_config
    learned.config.name_or_path = learned.name_or_path = str(base)
    get_peft_model(learned, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ending.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # peft 0.21 asks by its old name
@pytest.mark.parametrize("kind", ["model", "adapter"])
def test_the_cards_own_code_answers(kind, request, settings, monkeypatch, capsys):
    folder = request.getfixturevalue(kind)
    text = write_model_card(folder, ROW | flatten({"config": settings()}), command=COMMAND).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code.replace('"..."', '"the cow"').replace("256", "30"), {})
    assert capsys.readouterr().out == "says moo\n"


def test_the_folder_has_what_vllm_reads(model):
    """As vLLM's docs/design/huggingface_integration.md, default_loader.py and
    docs/models/generative_models.md say (2026-09)."""
    config = json.loads((model / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == (
        ["LlamaForCausalLM"],
        "llama",
    )  # its registry's name, transformers' name
    weights = [path.name for path in model.iterdir() if path.suffix in {".safetensors", ".bin", ".pt"}]
    assert weights == ["model.safetensors"]  # it reads every *.safetensors that no index leaves out
    with safe_open(model / "model.safetensors", "np") as tensors:
        names, shape = set(tensors.keys()), tensors.get_tensor("model.embed_tokens.weight").shape
    parameters = {name for name, _ in AutoModelForCausalLM.from_pretrained(model).named_parameters()}
    assert names == parameters and shape[0] == config["vocab_size"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.chat_template == TEMPLATE and len(tokenizer) <= config["vocab_size"]
    generation = json.loads((model / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.convert_tokens_to_ids(TURN_END)


# The hub


def elsewhere(code, hub, tmp_path, *arguments, **environment):
    """Run code in a process of its own, with this hub as the only one that it knows of."""
    mine = {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    command = [sys.executable, "-c", code, *map(str, arguments)] if code else list(arguments)
    given = {name: value for name, value in (known | mine | environment).items() if value is not None}
    return subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120)


PUSH = """
import logging, sys
from pathlib import Path
from sftdiv.release.hub.push import push
logging.basicConfig(level=logging.DEBUG)
print(push(Path(sys.argv[1]), sys.argv[2], private=sys.argv[3] == "private", message="sftdiv cell", waits=(0.01, 0.01)))
"""
CHECK = """
import logging, sys
from sftdiv.release.hub.push import check_push
from sftdiv.records import SftdivError
logging.basicConfig(level=logging.WARNING, format="%(message)s")
try:
    print(check_push(sys.argv[1], private=True))
except SftdivError as error:
    print(error)
"""
LOAD = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForCausalLM.from_pretrained(sys.argv[1])
messages = [{"role": "user", "content": "the cow"}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt, do_sample=False, max_new_tokens=30)[0, prompt["input_ids"].shape[1] :]))
"""


@pytest.fixture
def hub():
    hub = Hub()
    with serving(hub):
        yield hub


@pytest.fixture
def finished(model, tmp_path, settings):
    """A finished folder: the model, its card and its record, beside what no other machine needs."""
    folder = tmp_path / "cell" / "model"
    shutil.copytree(model, folder)
    write_model_card(folder, ROW | flatten({"config": settings()}), command=COMMAND)
    (folder / "train.json").write_text('{"steps": 13}')
    (folder / "checkpoint").mkdir()
    for name in (".lock", "last.ckpt", "checkpoint/model.safetensors"):
        (folder / name).write_text("for resuming")
    return folder


def test_what_arrives_at_the_hub_is_the_folder_without_its_checkpoints(hub, finished, tmp_path):
    hub.faults += [("PUT", "/objects/", 500), ("POST", "/commit/", 500), ("POST", "/repos/create", 503)]
    done = elsewhere(PUSH, hub, tmp_path, finished, "me/cow", "private")
    assert done.stdout == f"{hub.address}/me/cow\n" and f"uploaded {finished} to {hub.address}/me/cow" in done.stderr
    assert not hub.faults
    kept = hub.repositories["me/cow"]
    names = {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "train.json",
    }
    assert kept.private and set(kept.files) == names | {"tokenizer.json", "tokenizer_config.json"}
    assert all(data == (finished / name).read_bytes() for name, data in kept.files.items())
    assert kept.messages == ["sftdiv cell"]
    assert TOKEN not in done.stdout + done.stderr
    loaded = elsewhere(LOAD, hub, tmp_path, "me/cow")
    assert loaded.stdout == "says moo<|end|>\n", loaded.stderr


def test_uploading_again_replaces_the_weights_and_leaves_the_rest(hub, finished, tmp_path):
    old = dict.fromkeys(
        ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter_config.json", "LICENSE"), b"{}"
    )
    hub.repositories["me/cow"] = Repository(private=True, files=dict(old))
    for _ in range(2):
        done = elsewhere(PUSH, hub, tmp_path, finished, "me/cow", "private")
        assert done.stdout == f"{hub.address}/me/cow\n", done.stderr
    files = hub.repositories["me/cow"].files
    assert set(files) & set(old) == {"LICENSE"} and "model.safetensors" in files
    assert hub.repositories["me/cow"].messages == ["sftdiv cell"]  # the second time nothing had changed


def test_a_failed_upload_is_a_warning_whose_command_does_it_later(hub, finished, tmp_path):
    hub.faults += [("POST", "/commit/", 502)] * 3
    done = elsewhere(PUSH, hub, tmp_path, finished, "me/cow", "private")
    assert done.returncode == 0 and done.stdout == "None\n"
    (command,) = re.findall(r"upload it later with: (hf upload .*)", done.stderr)
    words = shlex.split(command)
    later = elsewhere("", hub, tmp_path, str(Path(sys.executable).with_name("hf")), *words[1:])
    assert later.returncode == 0, later.stderr
    kept = hub.repositories["me/cow"]
    assert kept.private and not any(name.startswith(("checkpoint", ".lock", "last")) for name in kept.files)
    assert kept.files["model.safetensors"] == (finished / "model.safetensors").read_bytes()


def test_what_is_refused_is_not_tried_again(hub, finished, tmp_path):
    done = elsewhere(PUSH, hub, tmp_path, finished, "them/cow", "private")
    assert done.stdout == "None\n" and "upload it later with" in done.stderr and "the next attempt" not in done.stderr
    assert hub.requests.count("POST /api/repos/create") == 1


def test_what_should_be_private_is_never_put_where_all_can_read_it(hub, finished, tmp_path):
    hub.repositories["me/cow"] = Repository(private=False)
    done = elsewhere(PUSH, hub, tmp_path, finished, "me/cow", "private")
    assert done.stdout == "None\n" and "exists and is public" in done.stderr and "upload it later" not in done.stderr
    assert not hub.repositories["me/cow"].files
    assert elsewhere(PUSH, hub, tmp_path, finished, "me/cow", "public").stdout == f"{hub.address}/me/cow\n"


def test_a_good_login_passes_the_check(hub, tmp_path):
    done = elsewhere(CHECK, hub, tmp_path, "me/cow")
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert not hub.repositories  # nothing is made before there is a model


@pytest.mark.parametrize(
    ("name", "environment", "told"),
    [
        ("cow", {}, "must be ME/MODEL"),
        ("me/my cow", {}, "cannot be a repository's name"),
        ("me/cow", {"HF_TOKEN": None}, "needs a login: `hf auth login`"),
        ("me/cow", {"HF_TOKEN": "hf_of_nobody"}, "rejects the token"),
        ("me/cow", {"HF_HUB_OFFLINE": "1"}, "which HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids"),
        ("me/public", {}, "exists and is public, and train.private=true"),
    ],
)
def test_the_check_refuses_what_could_not_be_uploaded(hub, tmp_path, name, environment, told):
    hub.repositories["me/public"] = Repository(private=False)
    done = elsewhere(CHECK, hub, tmp_path, name, **environment)
    assert done.stdout.startswith(f"train.push_to_hub={name}") and told in done.stdout, done.stderr
    assert "hf_" not in done.stdout + done.stderr  # no token


def test_a_token_that_may_only_read_is_refused(hub, tmp_path):
    hub.role = "read"
    assert "may only read" in elsewhere(CHECK, hub, tmp_path, "me/cow").stdout


def test_what_the_hub_cannot_say_now_is_a_warning(hub, tmp_path):
    foreign = elsewhere(CHECK, hub, tmp_path, "them/cow")
    assert foreign.stdout == "None\n" and "outside me" in foreign.stderr
    silent = elsewhere(CHECK, hub, tmp_path, "me/cow", HF_ENDPOINT="http://127.0.0.1:9")
    assert silent.stdout == "None\n" and "the upload is tried after training" in silent.stderr


def test_a_sweeps_models_are_called_like_their_cells():
    assert repository("me/", "cell-d0.5") == "me/cell-d0.5"
    assert repository("me/cow", "cell-d0.5") == "me/cow"


@pytest.mark.parametrize("target", [None, "me/", "me/cow-d${diversity_level}"])
def test_a_sweeps_models_do_not_replace_one_another(target):
    check_distinct_targets(target, 4)
    check_distinct_targets("me/cow", 1)
    with pytest.raises(
        SftdivError, match="me/cow names one model, but this sweep trains 4: use me/ to name each after"
    ):
        check_distinct_targets("me/cow", 4)
