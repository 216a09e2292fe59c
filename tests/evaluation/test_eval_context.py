"""What the pipeline gives to evaluators: the base model, its positions, and the columns of the cell."""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.protocols import EvalContext
from sftdiv.records import ModelRef
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell


def context_of(folder: Path, *overrides: str) -> EvalContext:
    artifacts = RunArtifacts(compose_run(overrides).spec, Store(folder / "cache"))
    return artifacts.eval_context(Cell("study", "cell", folder / "study" / "cell", "hash"))


def test_positions_are_those_of_the_model_to_be_trained(tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    LlamaConfig(max_position_embeddings=128).save_pretrained(model)
    scratch = context_of(tmp_path, "model.architecture.positions=128")
    assert scratch.positions() == 128
    pretrained = context_of(tmp_path, "model=smollm2_135m", f"model.path={model}")
    assert pretrained.positions() == 128
    assert pretrained.base() == ModelRef(str(model), pretrained.base().revision)
    missing = tmp_path / "missing"  # training reports it
    assert context_of(tmp_path, "model=smollm2_135m", f"model.path={missing}").positions() is None


def test_evaluators_see_the_columns_of_their_cell(tmp_path: Path) -> None:
    context = context_of(tmp_path, "diversity_level=0.5")
    assert (context.study, context.cell) == (tmp_path / "study", "cell")
    assert {name: context.columns[name] for name in ("strategy", "level", "seed")} == {
        "strategy": "micro_token",
        "level": 0.5,
        "seed": 0,
    }
