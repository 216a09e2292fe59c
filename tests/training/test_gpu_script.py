"""`benchmarks/gpu/run.py`: its checks cover every setting that a GPU changes; none of them ends the script."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def script(monkeypatch):
    """The module of a name in the script's folder, also in the processes that it starts."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("PYTHONPATH", f"{FOLDER}:{FOLDER.parents[1]}")
    return importlib.import_module


def test_every_setting_that_needs_a_gpu_has_a_check(script):
    checks = [check for part in script("parts").PARTS for check in part.checks]
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        module, function = check.function.split(":")
        assert callable(getattr(script(module), function))
    used = {(name, str(value)) for check in checks for name, value in check.settings.items()}
    assert used >= {
        *(("attention", name) for name in ("eager", "sdpa", "flash_attention_2", "flex_attention")),
        *(("precision", name) for name in ("bf16-true", "16-mixed")),  # bf16-mixed is what the checks train in
        *((name, "True") for name in ("packing", "compile", "liger", "gradient_checkpointing")),
        ("name", "adamw_8bit"),
        ("adapter", "{}"),
        ("adapter", "{'quantize': 'nf4'}"),
    }
    functions = {check.function for check in checks}
    assert functions >= {"smoke_training:automatic_batch", "smoke_training:resumed", "smoke_sweep:sweep"}
    assert functions >= {f"smoke_evaluation:{name}" for name in ("generation", "harness", "heldout", "embeddings")}


def test_a_check_is_skipped_fails_or_is_killed_without_ending_the_script(script, tmp_path):
    run, check = script("run").run_check, script("parts").Check
    cases = {
        "skipped": check("a", "machine:machine", ("cuda",)),
        "failed": check("b", "json:none_such"),
        "timeout": check("c", "json:dumps", limit=0),
        "ok": check("d", "machine:machine"),
    }
    for status, each in cases.items():
        line = run("smoke", each, tmp_path, "cpu", each.limit)
        assert line["status"] == status, line
    assert line["numbers"]["device"] == "cpu"


def test_the_names_of_parts_and_checks_are_checked(script):
    selected = script("run").selected
    assert [check.name for check in selected(["heldout"])["smoke"]] == ["heldout"]
    assert not selected(["heldout"])["study"]
    with pytest.raises(SystemExit, match=r"no part or check is named speeed; known: .*speed"):
        selected(["speeed"])
