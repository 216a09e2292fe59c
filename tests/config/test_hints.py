"""Where people stumble: the message names what was probably meant, and what it names works."""

import pytest

from sftdiv.config.from_python import compose_run, measure_request
from sftdiv.config.hints import check_arguments, with_alternatives
from sftdiv.config.names import MEANT, in_terms_of_measure
from sftdiv.records import SftdivError


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_text('{"instruction": "a", "output": "b"}\n')


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("config", ["mine.jsonl"], "'mine.jsonl' is no setting: to read it, write corpus=files corpus.path=mine.jsonl"),
        ("measure", ["seed=1", "gone.parquet"], "to read it, write corpus=files corpus.path=gone.parquet"),
        ("measure", ["org/data"], "for a data set of the Hub write corpus=hub corpus.path=org/data"),
        (
            "config",
            ["strategy"],
            "choose an option of the group strategy: strategy=macro_topic, strategy=macro_topic_umap, strategy=meso",
        ),
        ("config", ["grid"], "settings are written as NAME=VALUE"),
        ("config", ["--size=5"], "--size=5 is no flag of this command: settings are written without dashes, as size=5"),
        ("config", ["--multi-run"], "Did you mean '--multirun'"),
        ("config", ["experiment=paper_grid"], r"with a plus sign: \+experiment=paper_grid"),
        ("config", ["size=5000"], "size=5000 is not an option of the group size: .*any number: size.n=5000"),
        ("config", ["embedder=null"], "embedder=null is not an option .*embedder=none turns it off"),
        ("measure", ["model=tiny"], "python -m sftdiv.measure has no group model; its groups: corpus, embedder"),
        ("regenerate", ["+experiment=paper_grid"], "sftdiv.regenerate has no group experiment; its groups: corpus"),
    ],
)
def test_words_that_are_no_settings(rows, command, arguments, message):
    with pytest.raises(SftdivError, match=message):
        check_arguments(arguments, command)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-dir", "conf", "-m", "seed=0,1", "--cfg", "job"],
        ["--info", "searchpath", "seed=1", "-i"],
        [
            "+experiment=paper_grid",
            "~sweep.baselines.full",
            "size=10k,20k",
            "hydra/launcher=joblib",
            "corpus.path=a.json",
        ],
    ],
)
def test_words_that_are_right_pass(arguments):
    check_arguments(arguments, "config")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corpus.path=mine.jsonl", "it exists with corpus=files or corpus=hub: corpus=files corpus.path=mine.jsonl"),
        ("corpus.path=org/data", "corpus=hub corpus.path=org/data"),
        ("size=5k", "unknown option '5k' of size. Known: .*any number: size.n=5000"),
        ("lr=1e-4", "Did you mean model.finetune.learning_rate=1e-4"),
        ("epochs=3", "Did you mean model.finetune.epochs=3"),
        (
            "warmup=0",
            "Did you mean model.finetune.warmup=0 or model.pretrain.warmup=0|model.pretrain.warmup=0 or model",
        ),
        ("eval=mmlu", r"for tasks of lm-eval: eval=custom eval.tasks=\[mmlu\] eval.primary=mmlu.acc"),
        ("model=Qwen/Qwen3-0.6B", "model=qwen3_0_6b model.path=Qwen/Qwen3-0.6B model.name=Qwen3-0.6B"),
        ("corpus=mine.jsonl", "to read files: corpus=files corpus.path=mine.jsonl"),
        ("corpus=org/data", "to read it from the Hub: corpus=hub corpus.path=org/data"),
        ("embedder=org/embedder", "embedder=minilm embedder.path=org/embedder"),
        ("strategy=micro", "Did you mean 'micro_token'"),
        ("train.adapter.rank=8", "it exists with train=lora: train=lora train.adapter.rank=8"),
        ("judge.model=a", "judge exists with eval=judge"),
        ("data=mine.jsonl", "did you mean corpus=files corpus.path=mine.jsonl"),
    ],
)
def test_unknown_settings_and_options(rows, override, message):
    with pytest.raises(SftdivError, match=message):
        compose_run([override])


@pytest.mark.parametrize(
    "hint",
    [
        "corpus=files corpus.path=mine.jsonl",
        "size.n=5000",
        "model.finetune.learning_rate=1e-4",
        "model.finetune.epochs=3",
        "eval=custom eval.tasks=[mmlu] eval.primary=mmlu.acc",
        "corpus=files corpus.path=mine.jsonl model=qwen3_0_6b model.path=Qwen/Qwen3-0.6B model.name=Qwen3-0.6B",
        "embedder=minilm embedder.path=org/embedder",
        "train=lora train.adapter.rank=8",
    ],
)
def test_hints_work(rows, hint):
    assert compose_run(hint.split()).spec


def test_what_names_of_other_programs_stand_for_exists(composed):
    from omegaconf import OmegaConf

    known = [
        composed(*choices.split())
        for choices in ("corpus=files corpus.path=a eval=judge judge.endpoint.base_url=b judge.model=c", "train=lora")
    ]
    absent = object()
    for name, meant in MEANT.items():
        keys = [text.split()[-1] for text in meant]
        assert any(OmegaConf.select(config, key, default=absent) is not absent for config in known for key in keys), (
            name
        )


def test_the_hints_of_measure_name_its_own_settings():
    message = with_alternatives("Could not override 'n'. Key 'n' is not in struct", "measure", ["n=5"])
    assert "Did you mean matched.size=5?" in message and "size.n" not in message
    message = with_alternatives("Could not override 'lr'. Key 'lr' is not in struct", "measure", ["lr=1"])
    assert "model.finetune" not in message
    assert "has no judge" in with_alternatives("Could not override 'judge.model'.", "measure", ["judge.model=a"])


def test_messages_of_shared_code_name_settings_that_measure_has(rows):
    assert in_terms_of_measure("lower strategy.units.clusterer.clusters", "macro_topic") == (
        "lower units.macro_topic.units.clusterer.clusters"
    )
    with pytest.raises(SftdivError, match=r"^units\.macro_topic\.units\.noise='some' is unknown"):
        measure_request({"embedder": "lsa", "+units.macro_topic.units.noise": "some"})
    message = "not loaded (set by model.path, or by strategy.tokenizer: model, words, lexical, a folder or a hub id)"
    assert in_terms_of_measure(message) == "not loaded (set by tokenizer: words, lexical, a folder or a hub id)"
