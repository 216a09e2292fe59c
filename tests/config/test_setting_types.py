"""Null and values of other kinds: every setting of every command is refused by its name, or takes the value."""

import pytest
import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from warm_process import run_program

from sftdiv.config.from_python import _composing, compose_run, measure_request, run_request
from sftdiv.config.groups import is_group
from sftdiv.config.setting_types import NULLABLE, _fits_hint, check_kinds
from sftdiv.records import SftdivError

COMMANDS = {
    "config": [
        ["corpus=embedded", "stop_after=null", "eval=[embedded,heldout]"],
        ["corpus=files", "corpus.path=a", "train=lora", "strategy=macro_topic", "corpus.dedup=near"],
        ["strategy=meso_tag", "strategy/tagger=llm", "trainer=ddp", "eval=judge"],
    ],
    "measure": [["corpus=files", "corpus.path=a", "embedder=minilm"]],
    "regenerate": [["corpus=files", "corpus.path=a"]],
}
CASES = [(name, choices) for name, all_choices in COMMANDS.items() for choices in all_choices]


def settings_of(node, prefix=""):
    """Dotted names of all settings, inner ones after the mapping that holds them."""
    for key in node:
        name = f"{prefix}{key}"
        if str(key).startswith("_"):
            continue
        yield name
        is_plain = not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key)
        if is_plain and isinstance(node[key], DictConfig):
            yield from settings_of(node[key], f"{name}.")


@pytest.mark.parametrize(("name", "choices"), CASES)
def test_null_is_refused_by_name_wherever_it_means_nothing(name, choices):
    from hydra import compose

    with _composing(name, choices):
        config = compose(name, overrides=choices)
        settings = list(settings_of(config))
        assert len(settings) > 30
        unnamed = []
        for key in settings:
            if is_group(key):
                continue  # groups, whose options are checked before
            changed = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
            OmegaConf.update(changed, key, None)
            try:
                check_kinds(changed, [*choices, f"{key}=null"], name)
            except SftdivError as error:
                assert f"{key}=null" in str(error)
                continue
            default = OmegaConf.select(config, key)  # what is missing would have been refused
            if not (default is None or NULLABLE.fullmatch(key) or _fits_hint(changed, key, None)):
                unnamed.append(key)
        assert unnamed == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["selection=null"],
            r"selection=null: the setting has settings below it \(selection\.\w+=\.\.\., ",
        ),
        (["samples={a:1}"], r"samples=\{'a': 1\}"),
        (
            ["corpus.band.low=null"],
            r"corpus.band.low=null: the setting takes a number; leave it out for its default \(5",
        ),
        (["data.packing=yes"], r"data.packing=yes: the setting takes true or false; .* default \(false\)"),
        (["model.pretrain.steps=many"], "model.pretrain.steps=many: the setting takes a number"),
        (["diversity.metrics=null"], "diversity.metrics=null: the setting takes a text"),
        (["export.folder={a:1}", "samples=1"], r"export.folder=\{a:1\}: the setting takes a single value"),
        (
            ["corpus=files", "corpus.path=null"],
            "corpus.path=null: .* must be given; it has no default: ",
        ),
        (["+selection.mach=length"], r"unknown setting 'selection.mach'. Did you mean 'selection.match'\?"),
        (["++slection.match=length"], r"unknown setting 'slection.match'.* Did you mean selection.match=length\?"),
        (["++foo.bar=1"], r"unknown setting 'foo.bar'.*nothing reads"),
        (["size.n=null"], "size.n=null must be a whole number"),
        (["selection.max_per_group=true"], "selection.max_per_group=true must be"),
        (["selection.match=null"], r"selection.match=null is unknown. Did you mean 'none'\?"),
        (["selection.match=[length,quality]"], r"selection.match=\[length, quality\] is unknown"),
        (["selection.response_tokens=[30,10]"], r"selection.response_tokens=\[30, 10\] must be \[low, high\]"),
        (["selection.universe_share=0"], r"selection.universe_share=0 must be a number in \(0, 1\]"),
        (["train.validate_every=some"], "train.validate_every"),
        (["corpus.name=null"], "corpus.name=null: the setting takes a text"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)


@pytest.mark.parametrize(
    "override",
    [
        "near_duplicates=null",
        "units.meso_tag=null",
        "matched.size=5",
        "metrics=[mtld]",
        "metrics=paper",
        "pair_tokens=12",
        "corpus.band.low=1.5",
    ],
)
def test_values_that_a_setting_takes_pass(override):
    key, _, value = override.partition("=")
    assert measure_request({key: {"null": None, "[mtld]": ["mtld"]}.get(value, _number(value))})


def _number(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def test_names_of_digits_are_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "007").mkdir()
    (tmp_path / "007" / "a.csv").write_text("0,1,2\nCount.,one,web\n")
    columns = ["corpus.mapping.instruction=0", "corpus.mapping.response=1", "corpus.columns=[2]"]
    places = ["paths.outputs=7", "export.folder=8", "export.name=9", "export.format=messages"]
    request = compose_run(["corpus=files", "corpus.path=007", "stop_after=select", *columns, *places])
    rows = list(request.spec.corpus.reader.examples(lambda *_: None))
    assert [row.messages[0]["content"] for row in rows] == ["Count."]
    assert (request.paths.outputs.name, request.export.folder.name, request.export.name) == ("7", "8", "9")


@pytest.mark.parametrize("command", ["measure", "regenerate", "run"])
def test_the_commands_say_it_in_one_line(command, tmp_path):
    setting = {"measure": "repeated", "regenerate": "sampling", "run": "selection"}[command]
    needed = ["endpoint.base_url=http://localhost:1/v1", "endpoint.model=a"] if command == "regenerate" else []
    done = run_program(f"sftdiv.{command}", f"{setting}=null", *needed, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"sftdiv: {setting}=null: the setting has settings below it")


def test_no_list_or_mapping_stands_for_a_number():
    for value in (ListConfig([1]), DictConfig({"a": 1})):
        config = OmegaConf.create({"samples": value})
        with _composing("config", []), pytest.raises(SftdivError, match="samples=x: the setting takes a number"):
            check_kinds(config, ["samples=x"], "config")


@pytest.mark.parametrize("text", ["${x}", "a${x.y}b", "\\${x}", "it's ${oc.env:HOME}", "${", "$x", "\\", "b\\\\${x}\\"])
def test_texts_from_python_are_read_as_they_are(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    for name in "ab":
        (tmp_path / "dir" / f"${{{name}}}.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    settings = {"corpus": "files", "corpus.path": "dir/${a}.jsonl", "corpus.remove": [text], "model": "smollm2_135m"}
    request = run_request(settings)
    reader = request.spec.corpus.reader
    assert (reader.path, list(reader.converter.remove)) == ("dir/${a}.jsonl", [text])
    assert request.settings["corpus"]["remove"] == yaml.safe_load(request.text)["corpus"]["remove"] == [text]
    compared = measure_request({"corpus": "files", "corpus.path": "dir/${a}.jsonl", "baseline": "dir/${b}.jsonl"})
    assert [corpus.reader.path for corpus in compared.corpora] == ["dir/${a}.jsonl", "dir/${b}.jsonl"]


def test_null_is_taken_where_only_an_experiment_gives_another_default():
    request = compose_run(["+experiment=embedded_grid", "stop_after=select", "selection.max_per_group=null"])
    assert request.spec.selection.max_per_group is None
    with pytest.raises(SftdivError, match=r"corpus\.band\.low=null: the setting takes a number"):
        compose_run(["+experiment=embedded_grid", "stop_after=select", "corpus.band.low=null"])
