"""Every config composes, every `_target_` accepts its keys, and what cannot be right is refused with the
alternatives."""

import inspect
import subprocess
import sys
import time

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf
from warm_process import run_program

from sftdiv.config.app import conf_dir, study_of_command
from sftdiv.config.build import evaluation_options
from sftdiv.config.compose import prepare
from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.scoring import performance_columns
from sftdiv.records import SftdivError

GROUPS = sorted(
    path.parent.relative_to(conf_dir()).as_posix() + "=" + path.stem for path in conf_dir().rglob("*/*.yaml")
)
HEAVY = {"torch", "transformers", "pytorch_lightning", "lm_eval", "wandb", "sklearn", "datasets", "numba", "scipy"}
LLM = ["strategy/tagger=llm", "strategy.model=a", "strategy.endpoint.base_url=http://localhost:1/v1"]
TAGS = ["tags.model=a", "tags.endpoint.base_url=http://localhost:1/v1"]
JUDGE = ["judge.endpoint.base_url=http://localhost:1/v1", "judge.model=a"]
PATH = {"files": "corpus.path=mine.jsonl", "hub": "corpus.path=org/data"}


def overrides_of(choice):
    """The overrides that make one option of one group part of a whole config."""
    group, option = choice.split("=")
    if group == "experiment":
        needed = ["corpus.path=mine.jsonl"] if option.startswith(("paper_", "real_")) else []
        return [f"+{choice}", *needed, *([*JUDGE, *TAGS] if option == "paper_exact" else [])]
    if group == "tags" or option == "meso_tag_llm":
        chosen = option if group == "tags" else "llm"
        return ["strategy=meso_tag_llm"] * (chosen == "llm") + [f"+tags={chosen}", *TAGS * (chosen == "llm")]
    needed = [PATH[option]] if group == "corpus" and option in PATH else []
    if group.startswith("strategy/"):
        needed.append("strategy=" + ("macro_topic" if group.endswith("clusterer") else "meso_tag"))
        needed += LLM if option in ("llm", "of_llm") else []
    if group in ("judge", "prompts") or choice == "eval=judge":
        needed += ["eval=judge", *JUDGE, *["prompts.files.path=mine.jsonl"] * (choice == "prompts=files")]
    if choice == "selector=rds_plus":
        needed.append("selection.targets.path=mine.jsonl")
    if group == "eval" and option == "custom":
        needed.append("eval.tasks=[mine]")
    if group == "judge/shared":  # below whichever way of judging
        return ["eval=judge", *JUDGE]
    return [*(choice,) * (choice not in needed), *needed]


def targets(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for child in node.values():
            yield from targets(child)


@pytest.mark.parametrize("choice", GROUPS)
def test_every_file_composes_and_its_targets_accept_their_keys(composed, choice):
    config = OmegaConf.to_container(composed(*overrides_of(choice)), resolve=True)
    for node in targets(config):
        settings = {key: value for key, value in node.items() if not key.startswith("_")}
        signature = inspect.signature(get_object(node["_target_"]))
        (signature.bind_partial if node.get("_partial_") else signature.bind)(**settings)


def test_all_options_of_the_issues_are_there():
    wanted = {
        "strategy": "macro_topic meso_tag micro_token random",
        "size": "0.5k 1k 2k 10k 20k 30k full none",
        "model": "tiny scratch_3m scratch_30m llama2_7b llama3_8b llama2_70b "
        "smollm2_135m smollm2_135m_instruct smollm2_360m smollm2_1_7b qwen3_0_6b qwen3_8b",
        "eval": "embedded heldout custom none suite_small open_llm judge",
        "corpus": "embedded files hub",
        "embedder": "lsa minilm none",
        "strategy/clusterer": "hdbscan umap_hdbscan kmeans evoc",
        "strategy/tagger": "keyphrase column llm instagger",
        "trainer": "auto cpu gpu ddp fsdp deepspeed",
        "train": "full lora qlora",
        "model/template": "auto own plain alpaca chatml",
        "tracking": "wandb tensorboard mlflow csv none",
        "sweep": "plain grid",
        "compute": "local datatrove_local datatrove_slurm datatrove_ray",
        "judge": "alpaca_eval arena_hard",
        "prompts": "heldout alpaca_eval arena_hard mt_bench files",
        "experiment": "embedded_grid paper_grid paper_exact ablation_length ablation_tokenizer ablation_model "
        "llama2_70b full_fsdp real_selectors real_study",
        "selector": "ladder longest column perplexity ifd coverage instag mig k_center facility_location novel_select "
        "log_det deita rds_plus",
    }
    assert not {f"{group}={option}" for group, options in wanted.items() for option in options.split()} - set(GROUPS)


def test_defaults_follow_the_corpus(composed):
    embedded, files = composed(), composed("corpus=files", "corpus.path=mine.jsonl")
    assert (embedded.model.name, list(evaluation_options(embedded)), embedded.size.n) == ("tiny", ["embedded"], 2000)
    assert (files.model.name, list(evaluation_options(files)), files.size.n) == ("scratch_3m", ["heldout"], 2000)
    bands = [config.corpus.band for config in (embedded, files, composed("corpus=hub", "corpus.path=org/data"))]
    papers = (10, 500, "documents")  # inferred from the paper's figure 2
    assert [(band.low, band.high, band.unit) for band in bands] == [(5, 200, "occurrences"), papers, papers]
    assert [config.embedder._target_.rpartition(".")[2] for config in (embedded, files)] == [
        "LsaEmbedder",
        "SentenceEmbedder",
    ]
    sides = {name: composed(f"strategy={name}").strategy.side for name in ("macro_topic", "meso_tag", "micro_token")}
    assert sides == {"macro_topic": "instruction", "meso_tag": "instruction", "micro_token": "response"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["diversity_level=1.2"], r"diversity_level=1.2 must be a number in \[0, 1\]"),
        (["diversity_level=high"], "diversity_level='high' must be a number"),
        (
            ["strategy.side=respons"],
            "strategy.side='respons' is unknown. Did you mean 'response'.*instruction, response",
        ),
        (["stop_after=training"], "stop_after='training' is unknown.*null, select, train"),
        (["selection.match=lenght"], "Did you mean 'length'"),
        (["selection.prune=greedy"], "support, sample, random"),
        (["selection.slack=0.5"], "selection.slack=0.5 must be a number of at least 1"),
        (["size.n=-1"], "size.n=-1 must be a whole number of at least 0"),
        (["size.n=1e3"], "size.n=1000.0 must be a whole number"),
        (
            ["model.path=org/model"],
            "model=tiny is trained from scratch and would ignore model.path=org/model.*smollm2_135m",
        ),
        (["model.finetune.epochs=0"], "model.finetune.epochs=0 must be a whole number of at least 1"),
        (["selection.response_tokens=50"], r"selection.response_tokens=50 must be \[low, high\]"),
        (["selection.sources=alpaca"], r"must be a list: selection.sources=\[alpaca\]"),
        (["selection.k_min=few"], "selection.k_min='few' must be a number"),
        (["seed=-1"], "seed=-1 must be a whole number of at least 0"),
        (
            ["strategy=macro_topic", "embedder=none"],
            "strategy=macro_topic clusters embeddings, which embedder=none does not compute: use embedder=minilm",
        ),
        (
            ["corpus=files", "corpus.path=x", "model=tiny"],
            "model=tiny is pretrained on the synthetic corpus.*scratch_3m",
        ),
        (
            ["corpus=files", "corpus.path=x", "eval=embedded"],
            "eval=embedded is a benchmark of the synthetic corpus.*heldout",
        ),
        (["eval=custom"], r"eval=custom needs tasks: eval.tasks=\[arc_easy,piqa\]"),
        (["eval=custom", "eval.tasks=mine"], r"eval.tasks=mine must be a list: eval.tasks=\[mine\]"),
        (["eval.backend=vllm"], "needs the package vllm"),
        (["eval.batch_size=many"], "eval.batch_size='many' must be auto or a whole number of at least 1"),
        (["eval.limit=0"], "eval.limit=0 must be a whole number of at least 1, or null"),
        (["eval.limit=0.5"], "eval.limit=0.5 must be a whole number"),
        (["eval.num_fewshot=-1"], "eval.num_fewshot=-1 must be a whole number of at least 0, or null"),
        (
            ["eval=judge", *JUDGE, "judge.endpoint.api_key_env=sk-me", "stop_after=select"],
            "api_key_env names .* variable .* is not shown",
        ),
        (["strategy=meso_tag", *LLM, "strategy.endpoint.api_key_env=sk-me"], "api_key_env names the environment"),
        (["eval.tasks=[mine]"], r"eval.tasks=\['mine'\] is read by eval=custom only; use eval.embedded.tasks"),
        (["loss.on=prompt"], "loss.on='prompt' is unknown. Known: response, all"),
        (["loss.on=all", "loss.turns=last"], "loss.on=all puts every turn into the loss"),
        (["data.too_long=cut"], "data.too_long='cut' is unknown. Known: truncate, drop"),
        (["data.validation=2"], r"data.validation=2 must be a number in \[0, 1\]"),
        (["train.batch=0"], "train.batch=0 must be a whole number of at least 1, auto, or null"),
        (["train.schedule=step"], "train.schedule='step' is unknown. Known: cosine, linear, constant"),
        (["train.optimizer=sgd"], "train.optimizer='sgd' is unknown. Known: adamw, adamw_8bit"),
        (["train=lora", "train.adapter.rank=0"], "train.adapter.rank=0 must be a whole number of at least 1"),
        (
            ["trainer=cpu", "trainer.devices=2"],
            "trainer.devices=2 with trainer.nodes=1 needs a strategy that shares the work: trainer=ddp, fsdp",
        ),
        (["trainer=deepspeed", "trainer.accelerator=cpu"], "trainer=deepspeed needs GPUs; on a CPU use trainer=fsdp"),
        (["train.liger=true"], "train.liger=true needs the package liger_kernel: pip install 'sftdiv\\[liger\\]'"),
        (["train=qlora", "trainer=fsdp"], "train=qlora with trainer=fsdp: 4-bit weights cannot be sharded"),
        (["trainer=fsdp", "trainer.precision=16-mixed"], "trainer=fsdp does not scale the loss"),
    ],
)
def test_wrong_values_are_refused_with_the_alternatives(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)


def performance(*overrides):
    return performance_columns(compose_run(overrides).spec)


def test_ways_to_evaluate_stand_beside_each_other_in_the_order_given(composed):
    both = composed("eval=[heldout,embedded]", "eval.limit=10", "eval.batch_size=2")
    assert (both.eval.embedded.limit, both.eval.embedded.num_fewshot) == (10, 0)
    assert both.eval.embedded.batch_size == both.eval.heldout.batch_size == 2
    loss = {"eval": "heldout+embedded", "primary": "heldout.loss_macro", "higher_is_better": False}
    assert performance("eval=[heldout,embedded]") == loss
    other = performance("eval=[heldout,embedded]", "eval.primary=sftdiv_embedded_mc.acc")
    assert other["primary"] == "sftdiv_embedded_mc.acc"
    assert performance("eval=none") == {"eval": "none", "primary": None, "higher_is_better": None}
    assert performance("eval=[embedded,judge]", *JUDGE) == {
        "eval": "embedded+judge",
        "primary": "sftdiv_embedded_mc.word_probability",
        "higher_is_better": True,
    }
    custom = composed("eval=custom", "eval.tasks=[mine]", "eval.include_path=tasks")
    assert (custom.eval.custom.tasks, custom.eval.custom.include_path) == (["mine"], "tasks")


def cell_name(*overrides):
    return compose_run(overrides).single_cell().name


def test_an_evaluation_is_named_by_what_decides_its_scores():
    plain, quick, few = (
        compose_run(overrides).spec.evaluation_identity() for overrides in ([], ["eval.batch_size=1"], ["eval.limit=5"])
    )
    assert plain == quick != few


def test_a_cell_is_named_by_the_score_that_is_its_performance():
    """Else the same evaluators in another order would find a cell whose performance is another score."""
    names = [
        cell_name("eval=[embedded,heldout]"),
        cell_name("eval=[heldout,embedded]"),
        cell_name("eval=[embedded,heldout]", "eval.primary=heldout.loss_macro"),
    ]
    assert names[0] != names[1] == names[2]


def test_universe_of_another_strategy_is_composed_on_the_same_side(composed):
    overrides = ["strategy=random", "selection.universe=micro_token", "corpus.band.low=7"]
    config = composed(*overrides)
    prepare(config, overrides)
    assert config.universe_strategy.units.low == 7
    assert config.universe_strategy.side == "response"
    with pytest.raises(SftdivError, match=r"selection.universe='micro' is unknown. Did you mean 'micro_token'"):
        compose_run(["selection.universe=micro"])


def test_a_cell_is_named_by_content_not_by_path(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.jsonl").write_text('{"instruction": "Say yes.", "output": "Yes."}\n')
        names.append(cell_name("corpus=files", f"corpus.path={tmp_path / folder}"))
    assert names[0] == names[1]
    (tmp_path / "b" / "b.jsonl").write_text('{"instruction": "Say yes.", "output": "No."}\n')
    assert cell_name("corpus=files", f"corpus.path={tmp_path / 'b'}") != names[0]


def test_a_judges_baseline_is_named_by_its_model_and_not_by_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def named(baseline):
        return cell_name("eval=judge", *JUDGE, f"judge.baseline={baseline}")

    base = named("base")
    (tmp_path / "base").mkdir()
    assert named("base") == base
    (tmp_path / "cell" / "model").mkdir(parents=True)
    (tmp_path / "cell" / "model" / "weights").write_text("1")
    cell = named("cell")
    (tmp_path / "cell" / "log.txt").write_text("more")
    assert named("cell") == cell
    (tmp_path / "cell" / "model" / "weights").write_text("2")
    assert named("cell") != cell


def test_study_is_single_or_a_hash_of_the_sweep():
    assert study_of_command(["seed=0"]) == "single"
    sweep = study_of_command(["-m", "seed=0,1", "strategy=random"])
    assert sweep == study_of_command(["strategy=random", "--multirun", "seed=0,1"])
    assert sweep.startswith("sweep-")


def command(*arguments):
    return run_program("sftdiv.run", *arguments)


def test_unknown_keys_and_options_name_the_alternatives():
    wrong = command("corpus.skwe=2")
    assert wrong.returncode == 1
    assert "unknown setting 'corpus.skwe'. Did you mean 'corpus.skew'? Known in corpus:" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    wrong = command("strategy=micro")
    assert "micro_token" in wrong.stderr and "macro_topic" in wrong.stderr
    wrong = command("eval=[embedded,judg]")
    assert "unknown option 'judg' of eval. Did you mean 'judge'? Known: custom, embedded," in wrong.stderr
    wrong = command("size=500")
    assert "size=500 is not an option of the group size: 0.5k, 10k" in wrong.stderr and "size.n=500" in wrong.stderr
    wrong = command("corpus=files")
    assert "corpus.path" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job", "strategy=micro_token", "diversity_level=0.8"]])
def test_help_and_cfg_answer_without_torch(flags):
    program = f"""
import sys
sys.argv = ["sftdiv", *{flags!r}]
from sftdiv.run import main
try:
    main()
finally:
    print(sorted(set(sys.modules) & {HEAVY!r}))
"""
    started = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith("[]")
    assert "diversity_level" in shown.stdout
    assert time.perf_counter() - started < 20  # about 1 s; the bound only catches a hang
