"""``sftdiv COMMAND ...``: the console script, which starts any command; ``python -m sftdiv`` is the same.

Every command that has a module of its own also starts as ``python -m sftdiv.COMMAND``. Only the module of the command
is imported, so that ``sftdiv --help`` answers in a tenth of a second.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from sftdiv import __version__
from sftdiv.storage.closed_output import outlive_readers

COMMANDS: Mapping[str, tuple[str, str]] = {  # module and description
    "run": ("sftdiv.run", "select a subset, fine-tune on it, evaluate; -m for a sweep"),
    "measure": ("sftdiv.measure", "diversity of a dataset, alone or beside another one; trains nothing"),
    "analyze": ("sftdiv.analyze", "slopes, correlations and report.html of a sweep; or a pair of cells"),
    "judge": ("sftdiv.judge", "win rates of files of verdicts, Bradley-Terry scores of a study"),
    "regenerate": ("sftdiv.regenerate", "rewrite the responses of a dataset with one model"),
    "export": ("sftdiv.commands.export_subset", "the subset of a finished cell in another program's format"),
    "sync": ("sftdiv.sync", "send finished cells to Weights & Biases"),
    "doctor": ("sftdiv.commands.doctor", "versions, devices, hub, caches, W&B and extras of this machine"),
}
HYDRA_APPS = ("run", "measure", "regenerate")  # their words are settings, which the shell completes
COMPLETION = ("-sc", "--shell-completion")
TASKS = (
    ("try it, without data or network", "sftdiv run strategy=micro_token diversity_level=0.8"),
    (
        "choose a diverse subset",
        "sftdiv run corpus=files corpus.path=mine.jsonl size=10k diversity_level=1 stop_after=select embedder=none "
        "export.format=sharegpt",
    ),
    ("measure a dataset", "sftdiv measure corpus=files corpus.path=mine.jsonl"),
    ("compare two datasets", "sftdiv measure corpus=files corpus.path=mine.jsonl baseline=other.jsonl"),
    (
        "fine-tune and evaluate",
        "sftdiv run corpus=files corpus.path=mine.jsonl model=smollm2_135m size=10k diversity_level=0.5",
    ),
    (
        "sweep over levels",
        "sftdiv run -m strategy=micro_token,meso_tag diversity_level=0,1/2,1 replicate=0,1,2 study=mine",
    ),
    ("read a sweep's answer", "sftdiv analyze multirun/mine"),
    ("compare two cells", "sftdiv analyze pair multirun/mine/CELL_A multirun/mine/CELL_B"),
    (
        "judge answers with a model",
        "sftdiv run eval='[embedded,judge]' judge.endpoint.base_url=http://localhost:8000/v1 judge.model=NAME",
    ),
    ("score a file of verdicts", "sftdiv judge score annotations.json"),
    (
        "rewrite responses",
        "sftdiv regenerate corpus=files corpus.path=mine.jsonl endpoint.base_url=http://localhost:8000/v1 "
        "endpoint.model=NAME",
    ),
    ("export a finished subset", "sftdiv export outputs/single/CELL --format sharegpt"),
    ("repeat a published grid", "sftdiv run +experiment=embedded_grid"),
    ("run on a cluster", "sftdiv run +experiment=embedded_grid hydra/launcher=submitit_slurm"),
    ("check this machine", "sftdiv doctor"),
)


def main() -> int:
    """Start the command that the first word names; gives the exit code."""
    outlive_readers()
    words = sys.argv[1:]
    if words and words[0] in COMPLETION:
        return _complete(words)
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "-V"):
        print(f"sftdiv {__version__}")
        return 0
    if words[0] not in COMMANDS:
        print(f"sftdiv: {unknown_command(words)}", file=sys.stderr)
        return 1
    return _start(words[0], words[1:])


def overview() -> str:
    """The text of ``sftdiv --help``: tasks, then commands."""
    task_width, command_width = max(len(task) for task, _ in TASKS), max(map(len, COMMANDS))
    tasks = [f"  {task.ljust(task_width)}  {command}" for task, command in TASKS]
    commands = [f"  {name.ljust(command_width)}  {description}" for name, (_, description) in COMMANDS.items()]
    return "\n".join(
        [
            "sftdiv: SFT subsets at a controlled diversity, fine-tuned, evaluated, analyzed.",
            *("", "Tasks:", *tasks),
            *("", "Commands:", *commands),
            *("", "sftdiv COMMAND --help shows what a command takes: sftdiv run --help lists groups, options and"),
            "settings; sftdiv run --help selector says what the options of a group are.",
            'Completion by the Tab key: eval "$(sftdiv --shell-completion install=bash)"',
        ]
    )


def unknown_command(words: Sequence[str]) -> str:
    """What to type instead of words that begin with no command."""
    from sftdiv.storage.validate import did_you_mean

    word = words[0]
    if "=" in word or word.startswith(("-", "~", "+")):
        return f"{word} belongs to a command; type: sftdiv run {' '.join(words)}"
    return f"{word!r} is no command.{did_you_mean(word, COMMANDS)} Known: {', '.join(COMMANDS)}"


def _start(command: str, words: Sequence[str]) -> int:
    """Run a command with its words in ``sys.argv``, where Hydra reads them."""
    sys.argv[1:] = words
    return importlib.import_module(COMMANDS[command][0]).main() or 0


def _complete(words: Sequence[str]) -> int:
    """Hydra's shell completion: installs it, or answers a query for the words of ``COMP_LINE`` after ``sftdiv``.

    A query ends with the words that may follow, one per line for fish, and is Hydra's own from the second word on.
    """
    if not any("query=" in word for word in words):
        sys.argv[0] = "sftdiv"  # the name that the shell completes, also for python -m sftdiv
        return _start("run", words)
    _, _, line = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
    command, space, rest = line.lstrip().partition(" ")
    if not space:
        print("\n".join(name for name in COMMANDS if name.startswith(command)))
    elif command in HYDRA_APPS:
        os.environ["COMP_LINE"] = f"sftdiv {rest}"
        return _start(command, words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
