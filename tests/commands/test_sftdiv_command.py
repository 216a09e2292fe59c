"""``sftdiv COMMAND``: tasks and commands, what every command's help shows, and mistakes that end in one line."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from small_runs import environment
from warm_process import run_program

import sftdiv
from sftdiv import __main__ as command_line
from sftdiv.commands.extras import PURPOSES
from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.from_python import compose_run
from sftdiv.config.help_page import help_text
from sftdiv.config.hints import check_arguments
from sftdiv.config.setting_comments import first_sentence, read_comments, read_description
from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.formats import Converter
from sftdiv.records import SftdivError

register_resolvers()


def sftdiv_command(*words, cwd, **variables):
    """Run ``sftdiv WORDS`` in a warm process."""
    return run_program("sftdiv", *words, env=environment(**variables), cwd=cwd)


def test_the_overview_names_tasks_before_commands_and_imports_no_library():
    program = """
import sys
sys.argv = ["sftdiv", "--help"]
from sftdiv.__main__ import main
main()
print(sorted({"numpy", "torch", "hydra", "rich"} & set(sys.modules)))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("[]")
    assert shown.index("Tasks:") < shown.index("choose a diverse subset") < shown.index("Commands:")
    for name in command_line.COMMANDS:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(
    "command",
    [command for _, command in command_line.TASKS if command.startswith("sftdiv run") and " -m " not in command],
)
def test_every_task_of_the_overview_composes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    overrides = shlex.split(command)[2:]
    check_arguments(overrides, "config")
    if not any("hydra" in text for text in overrides):  # launchers are Hydra's own, and extras
        compose_run(overrides)


def test_words_that_are_no_command_say_what_to_type():
    assert command_line.unknown_command(["rnu"]).startswith("'rnu' is no command. Did you mean 'run'? Known: run, mea")
    assert command_line.unknown_command(["strategy=random", "-m"]).endswith("type: sftdiv run strategy=random -m")


def test_help_lists_examples_groups_and_settings_with_the_comments_of_conf():
    text = help_text(["--help"], "config")
    groups, settings = text.index("== Groups"), text.index("== Settings")
    assert text.index("sftdiv run strategy=micro_token") < groups < settings
    assert re.search(r"^  strategy=micro_token +macro_topic, .*random$", text, re.MULTILINE)
    assert re.search(r"^  \+experiment=NAME +ablation_length, ", text, re.MULTILINE)
    comment = read_comments(conf_dir() / "config.yaml")["replicate"]
    (line,) = [line for line in text.splitlines() if line.startswith("  replicate=0 ")]
    assert line.endswith(f"  {comment}") and comment.startswith("repetition of the whole design")
    assert re.search(r"^  corpus\.heldout=500 +examples for eval=heldout", text, re.MULTILINE)  # resolved
    assert "_target_" not in text and "corpus.reader" not in text  # wiring


def test_help_follows_the_options_of_the_command_and_its_words():
    judge = help_text(["--help", "eval=judge"], "config")
    assert "  judge.endpoint.base_url=VALUE" in judge
    about = help_text(["--help", "selector", "selection.match"], "config")
    description = first_sentence(read_description(conf_dir() / "selector" / "longest.yaml"))
    assert re.search(rf"^  selector=longest +{re.escape(description)}$", about, re.MULTILINE)
    assert "selection.match=none" in about and "diversity_level" not in about
    with pytest.raises(SftdivError, match="selectr is neither a group nor a setting"):
        help_text(["--help", "selectr"], "config")
    with pytest.raises(SftdivError, match="tracking is neither a group nor a setting"):
        help_text(["--help", "tracking"], "measure")  # a group of other commands


def test_comments_stand_behind_a_setting_or_above_it(tmp_path):
    path = tmp_path / "option.yaml"
    path.write_text(
        '# @package _global_\n# What the option is. More\n# about it.\nfirst: "a # b"  # behind a text\n\n'
        "# Above,\n# in two lines.\nsecond: [1, 2]\nblock:  # of the block\n  inner: null  # inside\n  bare: 1\n"
    )
    assert read_description(path) == "What the option is. More about it."
    assert read_comments(path) == {
        "first": "behind a text",
        "second": "Above, in two lines.",
        "block": "of the block",
        "block.inner": "inside",
    }
    assert first_sentence("With numbers (arXiv 1906.03543). Then more.") == "With numbers (arXiv 1906.03543)."


@pytest.mark.parametrize("path", sorted(conf_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_comments_are_read_from_every_file_of_conf(path):
    """No comment of a setting is lost: every `#` behind a key is found by that key."""
    lines = path.read_text(encoding="utf-8").splitlines()
    behind = [re.search(r"^\s*([\w\"'/-]+):(?:\s.*?)?  # (.+)$", line) for line in lines]
    found = read_comments(path)
    for match in filter(None, behind):
        name = yaml.safe_load(match[1])
        assert any(key.rpartition(".")[2] == str(name) and match[2].strip() in text for key, text in found.items()), (
            match[0]
        )


def test_an_option_of_ones_own_with_a_built_in_name_is_refused(tmp_path):
    """Hydra searches its own folder first, so such a file would never be read."""
    own = tmp_path / "conf" / "selector"
    own.mkdir(parents=True)
    (own / "longest.yaml").write_text("# @package selection\nselector: {_target_: mine.Longest}\n")
    for flags in (["--config-dir", "conf"], [f"hydra.searchpath=[file://{tmp_path}/conf]"]):
        refused = run_program("sftdiv.run", *flags, "selector=longest", env=environment(), cwd=tmp_path)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "conf/selector/longest.yaml is never read" in line and str(conf_dir() / "selector/longest.yaml") in line
        assert "rename it, for example to my_longest.yaml, and choose selector=my_longest" in line
    (own / "longest.yaml").rename(own / "my_longest.yaml")
    shown = run_program(
        *("sftdiv.run", "--config-dir", "conf", "selector=my_longest", "--cfg", "job", "-p", "selection.selector"),
        env=environment(),
        cwd=tmp_path,
    )
    assert "mine.Longest" in shown.stdout
    refused = run_program("sftdiv.run", "--config-dir", "gone", env=environment(), cwd=tmp_path)
    assert refused.stderr == (
        "sftdiv: --config-dir gone is no folder; it holds groups, such as strategy/my_strategy.yaml\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "'rnu' is no command. Did you mean 'run'?"),
        (["run", "strategy="], "strategy='' is not an option of the group strategy: macro_topic"),
        (["run", "strategy=microtoken"], "Did you mean 'micro_token'?"),
        (["run", "corpus=files", "corpus.path=gone.jsonl"], "corpus.path='gone.jsonl' matches no file"),
        (["run", "experiment=paper_grid"], "with a plus sign: +experiment=paper_grid"),
        (["run", "tags=llm"], "with a plus sign: +tags=llm"),
        (["run", "strategy/tagger=llm"], "exists with strategy=meso_tag: strategy=meso_tag strategy/tagger=llm"),
        (
            ["measure", "units.macro_topic.units.noise=nearest"],
            "added with a plus sign: +units.macro_topic.units.noise=nearest",
        ),
        (
            ["run", "strategy=meso_tag_llm"],
            "reads tags.endpoint, and no option of the group tags is chosen: type +tags=llm tags.model=VALUE "
            "tags.endpoint.base_url=http://localhost:8000/v1",
        ),
        (
            ["run", "strategy=meso_tag_llm", "+tags=keyphrase"],
            "strategy=meso_tag_llm reads tags.endpoint, which +tags=keyphrase does not have: type +tags=llm",
        ),
        (
            ["run", "corpus=files", "corpus.path=mine.jsonl", "embedder=none", "stop_after=select", "tracking=none"],
            "type corpus.mapping.instruction=question corpus.mapping.response=answer",
        ),
        (["export", "gone", "--format", "alpaca"], "gone is no finished cell"),
    ],
)
def test_a_mistake_ends_in_one_line_that_says_what_to_type(words, message, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    ended = sftdiv_command(*words, cwd=tmp_path, SFTDIV_CACHE=str(tmp_path / "cache"))
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]  # the log
    assert len(lines) == 1 and lines[0].startswith("sftdiv: ") and message in lines[0], ended.stderr
    assert not ended.stdout


def test_an_interpolation_into_a_group_that_was_not_chosen_names_the_group(tmp_path, monkeypatch):
    """Of any option, also of the user's own, in a value or in the defaults list."""
    own = tmp_path / "conf" / "strategy"
    own.mkdir(parents=True)
    micro = (conf_dir() / "strategy" / "micro_token.yaml").read_text()
    (own / "mine.yaml").write_text(micro.replace("tokenizer: model", "tokenizer: ${prompts.tokenizer}"))
    (own / "listed.yaml").write_text("defaults:\n- micro_token\n- tagger: of_${judge}\n- _self_\n")
    for option, key in (("mine", "prompts.tokenizer"), ("listed", "judge")):
        ended = run_program(
            *("sftdiv.run", "--config-dir", "conf", f"strategy={option}"), env=environment(), cwd=tmp_path
        )
        assert ended.returncode == 1
        assert f"strategy={option} reads {key}, and no option of the group" in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (
            {"question": "a", "answer": "b"},
            "To read these columns type corpus.mapping.instruction=question corpus.mapping.response=answer",
        ),
        ({"instruction": "a", "Answer": "b"}, "To read these columns type corpus.mapping.response=Answer"),
        (
            {"col1": "a", "col2": "b"},
            "Other columns are named by corpus.mapping.instruction=NAME corpus.mapping.response=NAME",
        ),
    ],
)
def test_a_row_with_unknown_columns_is_told_the_mapping(row, hint):
    with pytest.raises(BadRowError, match=re.escape(f". {hint}") + "$"):
        converter().example(row)
    if "NAME" not in hint:  # what it says works
        mapping = dict(re.findall(r"corpus\.mapping\.(\w+)=(\w+)", hint))
        assert [turn["content"] for turn in converter(mapping=mapping).example(row).messages] == ["a", "b"]


def converter(**settings):
    return Converter(format="auto", id="id", source="source", columns=[], remove=[], **settings)


def test_doctor_shows_versions_devices_hub_caches_and_extras(tmp_path):
    cache = tmp_path / "cache"
    (cache / "corpus").mkdir(parents=True)
    (cache / "corpus" / "data").write_bytes(b"\0" * (2 << 20))
    variables = {"SFTDIV_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "sftdiv", "doctor", "--json"]  # cold: the hub's variables are read at import
    shown = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, check=True)
    facts = json.loads(shown.stdout)
    assert facts["sftdiv"] == sftdiv.__version__
    assert facts["libraries"]["torch"] and facts["devices"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["hub"]["offline"] and facts["hub"]["responds"] is None
    assert facts["wandb"]["mode"] == "offline"
    (own, *_) = facts["caches"]
    assert own["folder"] == str(cache) and own["kinds"] == {"corpus": 2 << 20} and own["bytes"] == 2 << 20
    extras = {extra["name"]: extra for extra in facts["extras"]}
    assert extras["vllm"]["missing"] == ["vllm"]


def test_what_each_extra_enables_is_written_for_every_extra():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert set(PURPOSES) == set(project["project"]["optional-dependencies"])


def test_the_shell_completes_commands_groups_options_and_settings(tmp_path):
    """In bash, by the function that Hydra installs, for the script that pip installs."""
    script = tmp_path / "sftdiv"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom sftdiv.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    lines = {"sftdiv r": "run regenerate", "sftdiv run strategy=mi": "strategy=micro_token"}
    lines |= {"sftdiv measure matched.d": "matched.draws=", "sftdiv analyze multi": "multirun"}
    (tmp_path / "multirun").mkdir()  # plain arguments are completed by names of files
    queries = [
        f'COMP_LINE="{line}"; COMP_POINT={len(line)}; COMP_CWORD={line.count(" ")}; hydra_bash_completion; '
        'echo "${COMPREPLY[*]}"'
        for line in lines
    ]
    program = "\n".join(['eval "$(sftdiv --shell-completion install=bash)"', *queries])
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run(
        ["bash", "-c", program], env=environment(PATH=path), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert shown.stdout.splitlines() == list(lines.values()), shown.stderr
