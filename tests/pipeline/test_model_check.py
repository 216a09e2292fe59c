"""What cannot work with a model is an error in the first stage, before anything is selected."""

import shutil

import pytest
from tiny_models import tiny_base

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.model_check import check_model
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell


def check(folder, *overrides):
    spec = compose_run(overrides).spec
    artifacts = RunArtifacts(spec, Store(folder / "cache"))
    check_model(spec, artifacts, artifacts.eval_context(Cell("study", "cell", folder / "study" / "cell", "hash")))
    assert "corpus" not in vars(artifacts.data)  # which is not even read


@pytest.fixture
def model(tmp_path):
    """Overrides for a model folder of 64 positions."""
    folder = shutil.copytree(tiny_base(), tmp_path / "model")
    return ["model=smollm2_135m", f"model.path={folder}", "model.max_length=64"]


def test_a_template_that_fails_is_an_error(tmp_path, model):
    check(tmp_path, *model, "model/template=auto")
    template = "model.template.jinja='{{ messages[0].role + 1 }}'"
    with pytest.raises(SftdivError, match="the chat template rejects the turns user, assistant: "):
        check(tmp_path, *model, template, "model.template.prefer_own=false")


def test_a_length_beyond_the_positions_is_an_error(tmp_path, model):
    with pytest.raises(SftdivError, match=r"model\.max_length=65 exceeds the 64 positions of the model"):
        check(tmp_path, *model, "model.max_length=65")
    with pytest.raises(SftdivError, match=r"model\.max_length=4096 exceeds the \d+ positions"):
        check(tmp_path, "model.max_length=4096")
