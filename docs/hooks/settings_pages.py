"""Reference pages of the settings: one page per config group, written from ``conf/`` and the comments in it.

Each option has its description (the comment that opens its file) and a table of its settings: dotted name, default,
meaning and whether it changes results. A meaning is the comment of the setting; without one, the comment of the same
setting in another option of the group, or the attribute in the docstring of the class that the option builds.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from markdown_cells import cell, default_cell, escaped, in_words

from sftdiv.config.groups import conf_dir
from sftdiv.config.setting_comments import read_comments, read_description
from sftdiv.config.setting_effects import reason_without_effect

REFERENCE = re.compile(r"\$\{([\w./]+)\}")
AS_WRITTEN = re.compile(r"experiment/.*|sweep/grid")  # options that set settings of other groups: shown as YAML
FREE_KEYS = re.compile(
    r"(^|\.)(verdicts|prices|units\.(micro_token|meso_tag|macro_topic))$"
)  # mappings that are one value
COMMANDS = {"config": "run", "measure": "measure", "regenerate": "regenerate"}
# What an option of each group is; a group that is missing here is listed without a sentence.
GROUPS = {
    "corpus": "The data, and how it is read, deduplicated, decontaminated and split.",
    "strategy": "The unit of diversity and the side of the pair that it is counted on.",
    "selector": "How the subset is chosen: by the ladder and its levels, or by a published selector without levels.",
    "size": "The number of examples of the subset, or its budget of response tokens.",
    "embedder": "The vectors of the texts: for topics, embedding metrics and selectors that compare vectors.",
    "model": "The model that is fine-tuned, with its hyperparameters and chat template.",
    "train": "The way of fine-tuning: all weights, or adapters.",
    "trainer": "The devices, and how the work is shared among them.",
    "eval": "The evaluators; several are given as a list: `eval=[heldout,judge]`.",
    "judge": "The request template of a judge, with the server and the limits. Exists with `eval=judge`.",
    "prompts": "The prompts whose answers a judge compares; several are given as a list. Exists with `eval=judge`.",
    "tracking": "The services that receive the numbers; several are given as a list: `tracking=[wandb,csv]`.",
    "sweep": "The baselines of a multirun, and how its cells are executed.",
    "compute": "Where the work on single rows is done (reading, token ids, near duplicates, decontamination).",
    "experiment": "Whole studies, added with a plus sign: `+experiment=NAME`. An override narrows or changes one.",
    "tags": "The tagger of `experiment=paper_exact`; elsewhere added with a plus sign: `+tags=llm`.",
}


def settings_pages() -> dict[str, str]:
    """Markdown of the pages by their address below ``docs/``, in the order of the navigation."""
    pages = {f"reference/settings/command-{COMMANDS[name]}.md": _command_page(name) for name in COMMANDS}
    return pages | {f"reference/settings/{group}.md": _group_page(group) for group in _groups()}


def groups_table() -> str:
    """The groups with their options."""
    rows = [
        f"| [`{group}`]({group}.md) | {GROUPS.get(group, '')} | {', '.join(f'`{name}`' for name in _options(group))} |"
        for group in _groups()
    ]
    return "\n".join(["| group | what it is | options |", "| --- | --- | --- |", *rows])


def _groups() -> list[str]:
    found = sorted({path.relative_to(conf_dir()).parts[0] for path in conf_dir().rglob("*/*.yaml")})
    return [*(group for group in GROUPS if group in found), *(group for group in found if group not in GROUPS)]


def _command_page(name: str) -> str:
    command = COMMANDS[name]
    path = conf_dir() / f"{name}.yaml"
    lines = [f"# Settings of `{command}`", "", read_description(path), ""]
    table = _table(path, "", command=command, fallback={})
    return "\n".join([*lines, *_defaults(path), *table, ""])


def _group_page(group: str) -> str:
    lines = [f"# `{group}`", "", GROUPS.get(group, ""), ""]
    fallback = _comments_in(group)
    for folder in [group, *_subgroups(group)]:
        options = _options(folder)
        if folder != group and options:
            lines += [f"## Group `{folder}`", ""]
        if not any(read_description(conf_dir() / folder / f"{option}.yaml") for option in options):
            lines += _option_table(folder, options, fallback)
            continue
        for option in options:
            path = conf_dir() / folder / f"{option}.yaml"
            plus = "+" if group in ("experiment", "tags") else ""
            lines += [f"{'###' if folder != group else '##'} `{plus}{folder}={option}`", ""]
            lines += [*_description(path), "", *_table(path, folder, fallback=fallback), ""]
    return "\n".join(lines)


def _option_table(folder: str, options: list[str], fallback: Mapping[str, str]) -> list[str]:
    """One table for options that only set the same few values, such as those of ``size``."""
    files = {option: _read(conf_dir() / folder / f"{option}.yaml") for option in options}
    leaves = {option: {key: value for key, value, _ in _leaves(content, "")} for option, content in files.items()}
    keys = list(dict.fromkeys(key for values in leaves.values() for key in values))
    prefix = f"{folder}."
    head = ["option", *(f"`{prefix}{key}`" for key in keys)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for option, values in leaves.items():
        lines.append(f"| `{folder}={option}` | {' | '.join(default_cell(values.get(key, '')) for key in keys)} |")
    lines += ["", *(f"- `{prefix}{key}`: {fallback[prefix + key]}" for key in keys if prefix + key in fallback), ""]
    return lines


def _description(path: Path) -> list[str]:
    """The comment that opens an option's file; lines that show a command or are indented stand apart."""
    prose, shown = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").rstrip()
        if text.startswith((" @package",)):
            continue
        (shown if text.startswith("   ") else prose).append(text.strip())
    lines = [escaped(" ".join(prose))]
    return [*lines, "", "```text", *shown, "```"] if shown else lines


def _defaults(path: Path) -> list[str]:
    """The options that a file chooses unless told otherwise."""
    chosen = [
        f"`{group}={in_words(option)}`"
        for entry in _read(path).get("defaults", [])
        if isinstance(entry, dict)
        for group, option in entry.items()
        if not str(group).startswith(("override hydra", "/"))
    ]
    return [f"Chosen unless given: {', '.join(chosen)}.", ""] if chosen else []


def _table(path: Path, folder: str, *, fallback: Mapping[str, str], command: str = "run") -> list[str]:
    """The table of the settings in a file."""
    content, comments, prefix = _read(path), read_comments(path), _prefix(path, folder)
    if AS_WRITTEN.fullmatch(f"{folder}/{path.stem}"):
        return ["```yaml", *_body(path), "```"]
    inherited = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry not in ("_self_",)]
    lines = (
        [f"Also has the settings of {', '.join(f'`{folder}={name}`' for name in inherited)}.", ""] if inherited else []
    )
    rows = []
    for key, value, target in _leaves(content, ""):
        name, comment = f"{prefix}{key}", comments.get(key, "")
        if isinstance(value, dict) and not FREE_KEYS.search(key):
            rows += [f"| `{name}.*` | | {cell(comment)} | |"] if comment else []
            continue
        if not comment and (key == "name" or REFERENCE.fullmatch(str(value))):
            continue  # wiring: the setting that it repeats is the one to change
        meaning = comment or fallback.get(name, "") or _attributes(target).get(key.rpartition(".")[2], "")
        reason = reason_without_effect(name, command)
        rows.append(f"| `{name}` | {default_cell(value)} | {cell(meaning)} | {f'no: {reason}' if reason else 'yes'} |")
    if not rows:
        return lines
    return [*lines, "| setting | default | meaning | changes results |", "| --- | --- | --- | --- |", *rows]


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Dotted keys and values of nested settings, each with the class that the mapping around it builds.

    Classes, the defaults list and Hydra's own part are left out.
    """
    for name, value in node.items():
        if str(name).startswith("_") or (not prefix and name in ("defaults", "hydra")):
            continue
        yield f"{prefix}{name}", value, str(node.get("_target_", ""))
        if isinstance(value, dict) and not FREE_KEYS.search(f"{prefix}{name}"):
            yield from _leaves(value, f"{prefix}{name}.")


@cache
def _comments_in(group: str) -> dict[str, str]:
    """Comments of the settings of a group and its subgroups by full name, from the first option that has one."""
    found: dict[str, str] = {}
    for path in sorted((conf_dir() / group).rglob("*.yaml")):
        prefix = _prefix(path, path.parent.relative_to(conf_dir()).as_posix())
        found = {f"{prefix}{key}": text for key, text in read_comments(path).items()} | found
    return found


@cache
def _attributes(target: str) -> dict[str, str]:
    """Attributes and arguments in the docstring of a class, read from its source without importing it."""
    if not target.startswith("sftdiv."):
        return {}
    module, _, name = target.rpartition(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    texts = [ast.get_docstring(node) or "" for node in classes]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", "\n".join(texts), flags=re.MULTILINE)
    return {attribute: " ".join(text.split()) for attribute, text in found}


def _prefix(path: Path, folder: str) -> str:
    """What stands before the settings of a file: its ``@package``, else the name of its group."""
    package = re.match(r"# @package (\S+)", path.read_text(encoding="utf-8"))
    name = package[1] if package else folder.removesuffix("/shared").replace("/", ".")  # composed into its parent
    return "" if name in ("", "_global_") else f"{name}."


def _body(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[next((i for i, line in enumerate(lines) if not line.startswith("#")), 0) :]


def _options(folder: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / folder).glob("*.yaml"))


def _subgroups(group: str) -> list[str]:
    folders = sorted(path for path in (conf_dir() / group).rglob("*") if path.is_dir())
    return [folder.relative_to(conf_dir()).as_posix() for folder in folders]


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
