"""How the code hangs together: stages do not import each other, configuration stops at the door, and the package works as a wheel."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sftdiv

PACKAGE = Path(sftdiv.__file__).parent
STAGES = {
    "corpora",
    "embedders",
    "units",
    "selection",
    "diversity",
    "training",
    "evaluation",
    "tracking",
    "analysis",
    "export",
    "measuring",
    "publishing",
    "judging",
    "regenerating",
}
SHARED = {
    "records",
    "store",
    "cells",
    "causal",
    "llm",
}  # causal: what training and evaluation both know of a language model's folder
ALLOWED = {("corpora", "embedded")}  # the embedded world is a corpus
GLUE = {
    "run",
    "exports",
    "published",
    "measure",
    "measure_settings",
    "regenerate",
    "survey",
    "compared",
    "steps",
    "evaluated",
    "sweeps",
    "command",
    "settings",
    "training_settings",
    "artifacts",
    "pipeline",
}  # the only ones that know Hydra
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.parts)


def imported_by(path):
    """Dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_stages_meet_only_in_the_entry_points(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    names = list(imported_by(path))
    if own not in GLUE:
        assert not [name for name in names if name.split(".")[0] in {"hydra", "omegaconf"}]
    if own in STAGES | {"causal", "embedded"}:
        others = {name.split(".")[1] for name in names if name.startswith("sftdiv.")} - {own} - SHARED
        assert not {other for other in others if (own, other) not in ALLOWED}


def test_every_module_imports_with_the_core_dependencies():
    for module in pkgutil.walk_packages([str(PACKAGE)], prefix="sftdiv."):
        importlib.import_module(module.name)


@pytest.mark.slow
def test_the_wheel_works_from_any_folder(tmp_path):
    root = PACKAGE.parent
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(root)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    arguments = ["--cfg", "job", "strategy=micro_token", "diversity_level=0.8"]
    shown = [
        subprocess.run(
            [*command, *arguments], cwd=elsewhere, env=environment, check=True, capture_output=True, text=True
        ).stdout
        for command in ([str(site / "bin" / "sftdiv")], [sys.executable, "-m", "sftdiv.run"])
    ]
    assert shown[0] == shown[1]
    assert "diversity_level: 0.8" in shown[0] and "name: micro_token" in shown[0]
    where = "from sftdiv.config.app import conf_dir; print(conf_dir())"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=elsewhere, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert found.strip() == str(site / "sftdiv" / "conf")
