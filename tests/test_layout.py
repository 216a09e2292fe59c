"""How the code hangs together: stages do not import each other, configuration stops at the door, and the
package works as a wheel."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import sftdiv

PACKAGE = Path(sftdiv.__file__).parent
COMMANDS = {"__main__", "run", "measure", "regenerate", "analyze", "judge", "sync", "api", "commands", "paired"}
COMPOSITION = {"config", "pipeline", "sweep"}
SERVICES = {"tracking", "reporting", "release"}
STAGES = {"data", "embeddings", "units", "selection", "diversity", "training", "evaluation", "analysis"}
FOUNDATIONS = {"records", "protocols", "storage", "compute", "llm", "modeling", "text", "vectors"}
SHOWN = {
    ("reporting", "analysis"),
    ("reporting", "diversity"),
    ("reporting", "evaluation"),
    ("release", "reporting"),
}  # reports show what these stages computed; a model card writes numbers as they do
KNOW_HYDRA = {"config", "run", "measure", "regenerate", "api"}


def layer(name):
    """The height of a part of the package: a part imports only from lower layers, or from itself."""
    layers = [FOUNDATIONS, STAGES, SERVICES, COMPOSITION, COMMANDS]
    return next(height for height, parts in enumerate(layers) if name in parts)


def imported_by(path):
    """Dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def violations(path):
    """What a module imports against the layers, as sentences."""
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name in imported_by(path):
        root, _, rest = name.partition(".")
        if root in {"hydra", "omegaconf"} and part not in KNOW_HYDRA:
            yield f"{path.relative_to(PACKAGE)} imports {name}: only {', '.join(sorted(KNOW_HYDRA))} know Hydra"
        other = rest.partition(".")[0]
        if root != "sftdiv" or not other or other == part or (part, other) in SHOWN:
            continue
        same_level_is_fine = layer(part) == layer(other) and part in COMPOSITION | COMMANDS | FOUNDATIONS
        if layer(other) > layer(part) or (layer(other) == layer(part) and not same_level_is_fine):
            yield f"{path.relative_to(PACKAGE)} imports {name}: {part} must not know {other}"
        if part in SERVICES and other in STAGES:
            yield f"{path.relative_to(PACKAGE)} imports {name}: the service {part} must not know the stage {other}"


def test_each_part_imports_only_from_lower_layers():
    found = [each for path in sorted(PACKAGE.rglob("*.py")) if "conf" not in path.parts for each in violations(path)]
    assert not found, "\n".join(["", *found])


def test_the_package_is_easy_to_find_ones_way_in():
    """At most ten modules at the top, and no file name in two folders."""
    assert len(list(PACKAGE.glob("*.py"))) <= 10
    names = Counter(path.name for path in PACKAGE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})
    assert not [name for name, count in names.items() if count > 1]


def test_every_module_imports_with_the_core_dependencies():
    for module in pkgutil.walk_packages([str(PACKAGE)], prefix="sftdiv."):
        if module.name.endswith(".__main__"):
            continue
        importlib.import_module(module.name)


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
        for command in ([str(site / "bin" / "sftdiv"), "run"], [sys.executable, "-m", "sftdiv.run"])
    ]
    assert shown[0] == shown[1]
    assert "diversity_level: 0.8" in shown[0] and "name: micro_token" in shown[0]
    where = "from sftdiv.config.app import conf_dir; print(conf_dir())"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=elsewhere, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert found.strip() == str(site / "sftdiv" / "conf")
