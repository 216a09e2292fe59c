"""What the pipeline gives to evaluators: the base model, its positions, and the columns of the cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from sftdiv.pipeline.artifacts import Artifacts
from sftdiv.protocols import EvalContext
from sftdiv.records import ModelRef
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell


def context_of(composed: Callable[..., Any], folder: Path, *overrides: str) -> EvalContext:
    artifacts = Artifacts(composed(*overrides), Store(folder / "cache"))
    return artifacts.eval_context(Cell("study", "cell", folder / "study" / "cell", "hash"), {"level": 0.5})


def test_positions_are_those_of_the_model_to_be_trained(composed: Callable[..., Any], tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    LlamaConfig(max_position_embeddings=128).save_pretrained(model)
    scratch = context_of(composed, tmp_path, "model.architecture.positions=128")
    assert scratch.positions() == 128
    pretrained = context_of(composed, tmp_path, "model=smollm2_135m", f"model.path={model}")
    assert pretrained.positions() == 128
    assert pretrained.base() == ModelRef(str(model), pretrained.base().revision)
    (model / "config.json").unlink()  # as of an adapter
    assert context_of(composed, tmp_path, "model=smollm2_135m", f"model.path={model}").positions() is None


def test_evaluators_see_the_columns_of_their_cell(composed: Callable[..., Any], tmp_path: Path) -> None:
    context = context_of(composed, tmp_path)
    assert (context.columns, context.study, context.cell) == ({"level": 0.5}, tmp_path / "study", "cell")
