"""Before the first cell of a sweep: what no cell can have is said once, and what the sweep costs is stated."""

import re

import pytest
from small_runs import environment, paths
from warm_process import run_program

from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE
from sftdiv.sweep.cost import cost_lines
from sftdiv.sweep.plan import plan_sweep

BASIC = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
SLURM = {
    "_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "timeout_min": 60,
    "nodes": 1,
    "gpus_per_node": None,
    "partition": "gpu",
}


def run(folder, *arguments):
    return run_program("sftdiv.run", *arguments, *paths(folder), cwd=folder, env=environment())


def test_a_setting_that_all_cells_lack_is_said_once_and_leaves_no_folder(tmp_path):
    done = run(tmp_path, "+experiment=paper_grid", "tracking=none")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("corpus.path must be given, as corpus.path=VALUE") == 1
    assert re.search(r"missing in all [\d,]+ cells of the sweep", done.stderr)
    assert not list(tmp_path.glob("multirun/*"))


def test_an_experiment_without_its_plus_sign_is_one_line(tmp_path):
    done = run(tmp_path, "experiment=paper_grid")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.strip()] == [
        "sftdiv: an experiment is added with a plus sign: +experiment=paper_grid. Known: ablation_length, "
        "ablation_model, ablation_tokenizer, embedded_grid, full_fsdp, llama2_70b, paper_exact, paper_grid, "
        "real_selectors, real_study, selectors"
    ]


def test_a_reason_that_holds_for_all_cells_is_found_without_building_all_of_them(tmp_path):
    built = []

    def build(overrides):
        built.append(tuple(overrides))
        return compose_run([*overrides, "selection.slack=0.5"])

    cells = [[f"seed={seed}", f"diversity_level={level}"] for seed in range(5) for level in (0, 0.5, 1)]
    with pytest.raises(SftdivError, match=r"no cell of the sweep can run \(15 cells\): selection.slack=0.5 must be"):
        plan_sweep(cells, build, tmp_path / "study")
    assert len(built) == 7 + 5  # every value of each setting in the first and in the last cell that has it
    assert not (tmp_path / "study").exists()


def test_a_reason_of_the_first_cell_with_each_value_is_not_taken_for_one_of_all_cells(tmp_path):
    def build(overrides):
        works = {"seed=1", "diversity_level=1"} <= set(overrides)
        return compose_run([*overrides, "selection.slack=2" if works else "selection.slack=0.5"])

    cells, requests = plan_sweep(
        [[f"seed={s}", f"diversity_level={d}"] for s in (0, 1) for d in (0, 1)], build, tmp_path
    )
    assert [cell.refused for cell in cells] == [True, True, True, False] and len(requests) == 1


def test_folders_of_refused_cells_go_when_the_command_is_repaired(tmp_path):
    def plan(*slacks):
        cells = [[f"selection.slack={slack}"] for slack in slacks]
        return plan_sweep(cells, compose_run, tmp_path)

    cells, requests = plan(0.5, 2)
    assert [cell.refused for cell in cells] == [True, False] and len(requests) == 1
    assert len(list(tmp_path.glob(f"refused-*/{FAILURE}"))) == 1
    (tmp_path / "other_cell").mkdir()
    cells, requests = plan(1, 2)
    assert len(cells) == len(requests) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["other_cell"]
    with pytest.raises(SftdivError, match="no cell of the sweep can run"):
        plan(0.5, 0.6)
    assert [path.name for path in tmp_path.iterdir()] == ["other_cell"]


def test_the_cost_of_a_sweep_by_hand():
    settings = ["model.finetune.epochs=3", "model.finetune.batch_size=16", "model.max_length=100", "trainer=cpu"]
    cells = [compose_run([*settings, f"size.n={n}"]) for n in (100, 40, "all", 0)]
    assert cost_lines(cells, BASIC) == [
        "to run: 4 cells, of which 4 train",
        "fine-tuning: 27 optimizer steps on 432 conversations, at most 43,200 tokens; 1 more train on the whole "
        "universe",
        "each cell: cpu, devices=1; one cell after another",
    ]
    assert cost_lines([compose_run([*settings, "stop_after=select"])], BASIC)[0] == "to run: 1 cells, of which 0 train"
    assert cost_lines([], BASIC) == []


def test_gpu_hours_by_hand():
    """100 conversations of 1,000 tokens at 6 FLOPs per parameter and token: 6e14 FLOPs for 1e9 parameters."""
    model = [
        "model=smollm2_135m",
        "model.parameters=1000000000",
        "trainer=cpu",
    ]
    size = ["size.n=100", "model.finetune.epochs=1", "model.finetune.batch_size=10"]
    cost = ["sweep.cost.conversation_tokens=1000", "sweep.cost.mfu=0.5", "sweep.cost.peak_tflops=0.001"]
    cells = [compose_run([*model, *size, *cost])]
    assert cost_lines(cells, BASIC)[1:3] == [
        "fine-tuning: 10 optimizer steps on 100 conversations, about 100,000 tokens "
        "(sweep.cost.conversation_tokens=1000; at most 102,400 tokens)",
        "GPU time: about 333 GPU-hours for smollm2_135m at 50\u00a0% of 0.001 TFLOP/s (sweep.cost), without evaluation",
    ]
    adapter = cost_lines([compose_run([*model, *size, *cost, "train=lora"])], BASIC)
    assert "about 222 GPU-hours" in adapter[2]  # a frozen weight has no gradient: 4 FLOPs
    unknown = cost_lines([compose_run([*model, *size, *cost, "model.parameters=null"])], BASIC)
    assert not [line for line in unknown if "GPU-hours" in line]


def test_the_papers_protocol_asks_for_its_endpoints_first_and_costs_127_runs(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    done = run(tmp_path, "+experiment=paper_exact", "corpus.path=mine.jsonl", "tracking=none")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for name in ("judge.model", "judge.endpoint.base_url", "tags.model", "tags.endpoint.base_url"):
        assert name in done.stderr
    assert "tags=keyphrase, a deviation from the paper" in done.stderr and "all 127 cells" in done.stderr
    assert not list(tmp_path.glob("multirun/*"))
    endpoints = [f"{name}=http://localhost:1/v1" for name in ("judge.endpoint.base_url", "tags.endpoint.base_url")]
    given = ["+experiment=paper_exact", f"corpus.path={tmp_path / 'mine.jsonl'}", *endpoints]
    given += ["judge.model=a", "tags.model=a"]
    sizes = [compose_run([*given, f"size={size}"]) for size in ("10k", "20k", "30k")]
    lines = cost_lines([cell for cell in sizes for _ in range(42)] + sizes[:1], BASIC)
    assert "about 4.56\u00a0billion tokens" in lines[1]
    assert lines[2].startswith("GPU time: about 115 GPU-hours for llama2_7b at 45\u00a0% of 989.4 TFLOP/s")


def test_what_slurm_is_not_asked_for_is_said():
    cell = compose_run(["trainer=gpu"])
    assert cost_lines([cell], SLURM)[2:] == [
        "each cell: gpu, devices=1; SLURM: partition=gpu, nodes=1, timeout_min=60 (hydra.launcher.*)",
        "SLURM is asked for no GPU, and cells need one: hydra.launcher.gpus_per_node=1",
        "SLURM ends a cell after 60 minutes; the same command resumes it: hydra.launcher.timeout_min=MINUTES",
    ]
    assert not [line for line in cost_lines([cell], SLURM | {"gpus_per_node": 1}) if "no GPU" in line]
    assert not [line for line in cost_lines([compose_run(["trainer=cpu"])], SLURM) if "no GPU" in line]
