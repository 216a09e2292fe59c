"""Commands of one result share one cell: on machines with other hardware, and where a setting has no effect."""

import pytest
import torch
from omegaconf import OmegaConf

from sftdiv.config.from_python import compose_run


def cell_of(*overrides):
    return compose_run(list(overrides)).single_cell().name


@pytest.fixture
def gpu_machine(monkeypatch):
    """A machine on which a GPU is found, as on the nodes of a cluster whose login node has none."""

    def show():
        OmegaConf.register_new_resolver("hardware", lambda: "gpu", replace=True)
        monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter([self / "nvidia0"]))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)

    yield show
    OmegaConf.clear_resolver("hardware")


@pytest.mark.parametrize(
    "overrides", [[], ["train=lora"], ["trainer=ddp"], ["stop_after=select"], ["train.batch=auto"]]
)
def test_a_cell_planned_without_a_gpu_is_that_of_the_job_with_one(gpu_machine, overrides):
    planned = compose_run(overrides)
    gpu_machine()
    job = compose_run(overrides)
    assert job.single_cell().name == planned.single_cell().name
    trainer = job.spec.training.trainer.resolved()
    assert (trainer.accelerator, trainer.precision) == ("gpu", "bf16-mixed")


def test_how_the_work_is_shared_names_no_cell_and_the_precision_asked_for_does():
    hardware = ["trainer=ddp", "trainer=fsdp", "trainer.threads=1", "train.batch=4", "trainer=gpu"]
    assert {cell_of(change) for change in hardware} == {cell_of()}
    assert len({cell_of(), *(cell_of(f"trainer.precision={name}") for name in ("32-true", "bf16-mixed"))}) == 3


def test_the_micro_batch_names_the_cell_where_noise_is_drawn_for_each():
    assert cell_of("train.batch=4") == cell_of("train.batch=auto") == cell_of()
    for noise in (["train.neftune=5"], ["train=lora", "train.adapter.dropout=0.1"]):
        assert cell_of(*noise, "train.batch=4") != cell_of(*noise)


CHOICES = ["strategy=meso_tag", "strategy.side=instruction", "diversity_level=0.5", "selection.match=length"]
CHOICES += ["selection.slack=2", "selection.prune=random", "size.label_tokens=500", "strategy=macro_topic"]


def test_the_base_model_alone_is_one_cell():
    names = {cell_of("size=none", choice) for choice in CHOICES}
    filters = ["selection.universe_share=0.5", "selection.universe=micro_token", "selection.response_tokens=[1,9]"]
    filters += ["selection.max_per_group=1", "seed.draw=3", "seed.ladder=3"]
    unused = ["embedder=none", "diversity.metrics=all", "model.finetune.learning_rate=0.1", "train=lora"]
    assert names | {cell_of("size=none", each) for each in filters + unused} == {cell_of("size=none")}
    assert cell_of("size=none", "model=tiny_narrow") != cell_of("size=none")
    columns = compose_run(["size=none", "strategy=meso_tag", "diversity_level=0"]).spec.columns()
    assert columns == compose_run(["size=none"]).spec.columns()
    assert (columns["kind"], columns["strategy"], columns["level"]) == ("base", "random", 1)


def test_the_whole_universe_is_one_cell():
    assert {cell_of("size=full", choice) for choice in CHOICES} == {cell_of("size=full")}
    changes = [
        "selection.universe_share=0.5",
        "selection.max_per_group=1",
        "selection.universe=micro_token",
        "selection.response_tokens=[1,9]",
        "seed=1",
    ]
    changes += ["corpus.seed=1", "model.finetune.learning_rate=0.1", "diversity.metrics=all"]
    assert len({cell_of("size=full"), *(cell_of("size=full", change) for change in changes)}) == 1 + len(changes)
    spec = compose_run(["size=full", "strategy=micro_token", "diversity_level=0.25"]).spec
    assert (spec.strategy.name, spec.selection.level, spec.columns()["kind"]) == ("random", 1, "full")
