"""Sections of the commands, from their own help: argparse's text, and the examples in ``conf/*.yaml``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import itertools
import os
import re

import yaml

from sftdiv.config.groups import conf_dir

HYDRA = {
    "run": ("config", "One run, or with `-m` a sweep: select, fine-tune, evaluate, record."),
    "measure": ("measure", "The diversity of a dataset, alone or beside a baseline. Trains nothing."),
    "regenerate": ("regenerate", "Rewrites every response of a corpus with one model behind an endpoint."),
}
EXTRAS = "sftdiv.commands.extras"
ARGPARSE = (  # module, and the words before --help
    ("analyze", "sftdiv.analyze", ()),
    ("analyze pair", "sftdiv.analyze", ("pair",)),
    ("judge score", "sftdiv.judge", ("score",)),
    ("judge arena", "sftdiv.judge", ("arena",)),
    ("sync", "sftdiv.sync", ()),
    ("sync workspace", "sftdiv.sync", ("workspace",)),
    ("export", "sftdiv.commands.export_subset", ()),
    ("doctor", "sftdiv.commands.doctor", ()),
)


def command_sections() -> str:
    """One section per command."""
    lines: list[str] = []
    for name, (config, text) in HYDRA.items():
        settings = f"[All settings of `{name}`](settings/command-{name}.md)"
        lines += [f"## {name}", "", f"{text} {settings}.", "", "```text", _examples(config), "```", ""]
    for name, module, words in ARGPARSE:
        if _exists(module):
            lines += [f"## {name}", "", "```text", help_of(module, words).rstrip(), "```", ""]
    return "\n".join(lines)


def extras_table() -> str:
    """The extras of ``pyproject.toml`` with what each enables."""
    lines = (conf_dir().parent / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("[project.optional-dependencies]"))
    purposes = dict(getattr(importlib.import_module(EXTRAS), "PURPOSES", {})) if _exists(EXTRAS) else {}
    rows = []
    for line in itertools.takewhile(lambda line: not line.startswith("[project.scripts]"), lines[start:]):
        if extra := re.match(r"([\w-]+) = \[(?:[^#]*#\s*(.*))?", line):
            rows.append(f"| `{extra[1]}` | {purposes.get(extra[1]) or extra[2] or 'development'} |")
    return "\n".join(["| extra | enables |", "| --- | --- |", *rows])


def _examples(config: str) -> str:
    """Examples and notes of a command's help, without the lists of groups and settings."""
    content = yaml.safe_load((conf_dir() / f"{config}.yaml").read_text(encoding="utf-8"))
    template: str = content["hydra"]["help"]["template"]
    text = re.sub(r"== Groups.*\$CONFIG", "", template, flags=re.DOTALL)
    text = text.replace("${hydra.help.header}", "")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def help_of(module: str, words: tuple[str, ...]) -> str:
    """What a command prints with ``--help``."""
    output, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            importlib.import_module(module).main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.__setitem__("COLUMNS", columns)
    return output.getvalue()


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
