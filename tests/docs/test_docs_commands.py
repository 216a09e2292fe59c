"""Every command in README and docs is right: settings compose, arguments parse, files, targets and extras exist.

Blocks that need what a test has not (a network, an account) are marked in the page by ``<!-- needs: ... -->`` and
skipped with that reason. The examples of the developer guide are run by ``test_docs_extensions.py``.
"""

import ast
import functools
import importlib
import re
import shlex
import tomllib

import pytest
from documentation import PAGES, ROOT, blocks
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

import sftdiv
from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.hints import check_arguments
from sftdiv.config.names import FLAGS_WITH_VALUE
from sftdiv.config.sweeper import swept_values

EXTENSIONS = ("strategy", "metric", "selector", "evaluator", "tracker")
MODULES = {"export": "sftdiv.commands.export_subset", "doctor": "sftdiv.commands.doctor"}  # of ``sftdiv NAME``
HYDRA = {"sftdiv.run": "config", "sftdiv.measure": "measure", "sftdiv.regenerate": "regenerate"}
OWN_EXAMPLES = [ROOT / "docs" / "developer" / f"{part}.md" for part in EXTENSIONS]
CHECKED = [page for page in PAGES if page not in OWN_EXAMPLES]
STARTS = ("python -m sftdiv", "python benchmarks", "sftdiv ", "make ")  # of lines in blocks without a language


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def commands_of(page):
    """Commands of a page that a test can check."""
    found = []
    for block in blocks(page):
        if block.needs is None and block.language == "bash":
            found += block.commands()
        elif block.needs is None and not block.language and block.text.startswith(STARTS):
            found += [words for words in block.commands() if " ".join(words).startswith(STARTS)]
    return found + (recipes() if page.name == "README.md" else [])


def recipes():
    """Commands in the cells of README's tables; an ellipsis stands for settings of one's own."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [text for line in lines if line.startswith("| ") for text in re.findall(r"`(sftdiv [^`]+)`", line)]
    return [[word for word in shlex.split(text) if word != "..."] for text in cells]


@pytest.mark.parametrize("page", [page for page in CHECKED if commands_of(page)], ids=name_of)
def test_the_commands_of_a_page_are_right(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in commands_of(page):
        check(words)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{name_of(page)}-{block.needs}")
        for page in CHECKED
        for block in blocks(page)
        if block.needs is not None
    ],
)
def test_marked_commands_are_skipped(page, block):
    assert block.commands()
    pytest.skip(f"{len(block.commands())} commands need {block.needs}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_compile_and_name_what_exists(page):
    for block in blocks(page):
        if block.language == "python":
            tree = ast.parse(block.text)
            used = {
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sftdiv"
            }
            assert used <= set(dir(sftdiv)), page


def test_the_recipes_of_the_readme_are_found():
    assert {"run", "measure", "regenerate"} <= {words[1] for words in recipes()}


def test_a_wrong_command_is_found():
    for words in (
        ["python", "-m", "sftdiv.run", "diversity_levl=1"],
        ["python", "-m", "sftdiv.run", "-m", "strategy=micro_token,no_such"],
        ["python", "-m", "sftdiv.analyze", "--no-such-flag"],
        ["python", "benchmarks/no_such.py"],
        ["make", "no-such"],
        ["pip", "install", "sftdiv[no_such]"],
        ["unknown", "program"],
    ):
        with pytest.raises(Exception, match=r"."):  # of Hydra, of the hints, or an assertion
            check(words)


def check(words):
    """Check one command."""
    program, *arguments = words
    if program == "sftdiv":
        words = ["python", "-m", MODULES.get(arguments[0], f"sftdiv.{arguments[0]}"), *arguments[1:]]
    if words[:2] == ["python", "-m"]:
        module, arguments = words[2], words[3:]
        check_settings(HYDRA[module], arguments) if module in HYDRA else check_parsed(module, arguments)
    elif program == "python":
        script = (ROOT / arguments[0]).read_text(encoding="utf-8")
        assert all(flag in script for flag in arguments if flag.startswith("--")), words
    elif program == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(arguments) <= set(targets), words
    elif program == "source":
        assert arguments == [".venv/bin/activate"], words  # made by make setup
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = re.search(r"\[([\w,]+)\]", " ".join(arguments))
        assert wanted is None or set(wanted[1].split(",")) <= set(project["optional-dependencies"]), words
    else:
        raise AssertionError(f"{program} is not known here: mark the block with <!-- needs: ... -->")


def check_settings(config_name, arguments):
    """Compose the config of a command, of a sweep with every value of every setting at least once."""
    arguments = [text.replace("...", "VALUE") for text in arguments if not re.fullmatch(r"[\w.]*\.\.\.", text)]
    check_arguments(arguments, config_name)
    overrides = [
        text
        for before, text in zip(["", *arguments], arguments, strict=False)
        if not text.startswith("-") and before not in FLAGS_WITH_VALUE
    ]
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        deleted = [text for text in overrides if text.startswith("~")]
        axes = swept_values([text for text in overrides if text not in deleted], parser)
        prefixes = {text.lstrip("+").partition("=")[0]: text[: len(text) - len(text.lstrip("+"))] for text in overrides}
        for row in range(max(map(len, axes.values()), default=1)):
            chosen = [values[min(row, len(values) - 1)] for values in axes.values()]
            plus = [prefixes.get(text.partition("=")[0], "") + text for text in chosen]
            composes(config_name, (*plus, *deleted))


@functools.cache  # pages repeat commands
def composes(config_name, overrides):
    """Compose a config; raises where Hydra refuses it."""
    compose(config_name, overrides=list(overrides))


def check_parsed(module, arguments):
    """Let a command parse its arguments; what it then says about files that do not exist is no fault of the page."""
    main = importlib.import_module(module).main
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code != 2, (module, arguments)
