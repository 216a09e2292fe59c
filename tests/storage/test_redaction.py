"""Secrets: hidden in texts, settings and overrides, and in no file or line of a sweep that refuses them."""

import json
import logging
import sys

import pytest
from omegaconf import OmegaConf
from warm_process import run_program

from sftdiv.config.from_python import compose_run
from sftdiv.llm.endpoint import Endpoint
from sftdiv.records import SftdivError
from sftdiv.storage.redaction import names_a_variable, redact_output, redacted, redacted_overrides, redacted_settings

LIMITS = {"concurrency": 1, "timeout": 1, "tries": 1, "wait": 0.1, "longest_wait": 1, "requests_per_minute": None}
LIMITS |= {"batch": None, "batch_requests": 1}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2pass@127.0.0.1:1/v1 cannot be reached", "http://***@127.0.0.1:1/v1 cannot be reached"),
        ("http://u:pa/ss@h/v1", "http://***@h/v1"),
        ("base_url=user:hunter2pass@h/v1", "base_url=***"),
        ("https://h/v1?key=SECRET and more", "https://h/v1*** and more"),
        ("http://h/v1#key=SECRET", "http://h/v1***"),
        ("judge.endpoint.api_key_env=sk-live-SECRETKEY123", "judge.endpoint.api_key_env=***"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("the key sk-live-SECRETKEY123 is wrong", "the key *** is wrong"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("api_key: 'my key', model: m", "api_key: ***, model: m"),
        (
            "set OPENAI_API_KEY (api_key_env), or api_key_env=null",
            "set OPENAI_API_KEY (api_key_env), or api_key_env=null",
        ),
        ("size.label_tokens=5000 label_tokens=auto", "size.label_tokens=5000 label_tokens=auto"),
        ("the key: see above", "the key: see above"),
        ("the number of label tokens: too few cells", "the number of label tokens: too few cells"),
        ("api_keys: abcdef", "api_keys: ***"),
        ("hf://datasets/org/name@main/a.parquet", "hf://datasets/org/name@main/a.parquet"),
        ("write to me@example.org at 12:30", "write to me@example.org at 12:30"),
    ],
)
def test_what_may_be_a_secret_is_hidden_in_texts(text, shown):
    assert redacted(text) == shown


def test_values_of_variables_that_hold_secrets_are_hidden_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "zebra-zebra-zebra")
    monkeypatch.setenv("SOME_LIBRARY", "/usr/lib/zebra")
    assert redacted("the server says zebra-zebra-zebra of /usr/lib/zebra") == "the server says *** of /usr/lib/zebra"


def test_overrides_are_hidden_by_the_names_of_their_settings():
    given = [
        "hydra.job.env_set.OPENAI_API_KEY=abc",
        "+a.api_key_env=A_KEY,B_KEY",
        "judge.endpoint.api_key_env=a,b",
        "judge.endpoint={base_url:'http://a:b@h/v1',api_key_env:foo}",
        "judge.endpoint.base_url=JUST-A-KEY",
        "strategy.tokenizer=words",
        "+password=12345678",
    ]
    assert redacted_overrides(given) == [
        "hydra.job.env_set.OPENAI_API_KEY=***",
        "+a.api_key_env=A_KEY,B_KEY",
        "judge.endpoint.api_key_env=***",
        "judge.endpoint={base_url:'http://***@h/v1',api_key_env:***}",
        "judge.endpoint.base_url=***",
        "strategy.tokenizer=words",
        "+password=***",
    ]


def test_ordinary_settings_stay_as_they_are():
    judge = ["eval=judge", "judge.endpoint.base_url=http://127.0.0.1:1/v1", "judge.model=m"]
    tagger = ["strategy=meso_tag", "strategy/tagger=llm", "strategy.endpoint.base_url=http://h/v1", "strategy.model=m"]
    for overrides in ([], judge, tagger, ["+experiment=paper_grid", "corpus.path=x.jsonl"]):
        request = compose_run(overrides)
        assert redacted_settings(request.settings) == request.settings
        assert "***" not in request.text + request.command
        assert OmegaConf.to_container(OmegaConf.create(request.text)) == request.settings


def test_a_setting_with_a_secret_is_hidden_in_what_is_recorded():
    nested = {"a": {"api_key": "abc", "items": ["http://u:p@h"], "max_tokens": 5}, "prompt": "key: value\ntoken=abc"}
    assert redacted_settings(nested) == {
        "a": {"api_key": "***", "items": ["http://***@h"], "max_tokens": 5},
        "prompt": "key: value\ntoken=abc",
    }
    request = compose_run(
        [
            "+sweep.baselines.mine.password=hunter2",
            "corpus=files",
            "corpus.path=https://u:hunter2@h/x.jsonl",
            "model=scratch_3m",
        ]
    )
    assert "hunter2" not in request.text + request.command + json.dumps(request.settings)


@pytest.mark.parametrize(
    "address",
    ["http://h/v1#key=SECRET", "http://me:SECRET@h/v1", "http://me:a/SECRET@h/v1", "http://h/v1?k=SECRET", "SECRET"],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_shown(address):
    with pytest.raises(SftdivError, match="base_url") as refused:
        Endpoint(base_url=address, api_key_env=None, **LIMITS)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "key", ["AKIAIOSFODNN7EXAMPLE", "SK_LIVE_4242SECRETKEY", "KEY_AKIAIOSFODNN7EXAMPLE", "sk-a", "ABCDEF", ""]
)
def test_a_key_of_capitals_and_digits_is_no_variable(key):
    assert not names_a_variable(key)
    with pytest.raises(SftdivError, match="it is not shown") as refused:
        Endpoint(base_url="http://h/v1", api_key_env=key, **LIMITS)
    assert not key or key not in str(refused.value)


def test_a_name_is_one_that_reads_like_one_or_is_set(monkeypatch):
    assert all(map(names_a_variable, ["OPENAI_API_KEY", "HF_TOKEN", "JUDGE_KEY", "MY_KEY_2"]))
    monkeypatch.setenv("MYSERVER1", "x")
    assert names_a_variable("MYSERVER1")


def test_log_messages_are_hidden(caplog):
    before, stderr = logging.getLogRecordFactory(), sys.stderr
    try:
        redact_output()
        logging.getLogger("a").warning("cannot reach %s", "http://me:hunter2@h")
    finally:
        logging.setLogRecordFactory(before)
        sys.excepthook = sys.__excepthook__
        sys.stderr = stderr
    assert caplog.messages == ["cannot reach http://***@h"]


SECRET = "hunter2SECRETpass"


@pytest.mark.parametrize(
    "setting",
    [
        f"judge.endpoint.api_key_env=sk-live-{SECRET}",
        f"judge.endpoint.api_key_env={SECRET.upper()}",
        f"judge.endpoint.base_url=http://user:{SECRET}@127.0.0.1:1/v1",
        f"judge.endpoint.base_url=http://127.0.0.1:1/v1#{SECRET}",
        f"judge.endpoint.api_key_env=sk'{SECRET}",  # Hydra cannot read it
        f"judge.endpoint.api_key=sk-{SECRET}",  # there is no such setting
        f"+judge.endpoint.api_key={SECRET}",
        f"judge.endpoint.base_url={SECRET}",
    ],
)
@pytest.mark.parametrize("flags", [["-m", "diversity_level=0,1"], []])
def test_a_refused_secret_is_in_no_file_and_no_line(tmp_path, setting, flags):
    base = [] if "base_url" in setting else ["judge.endpoint.base_url=http://127.0.0.1:1/v1"]
    folders = [f"paths.{name}={tmp_path}/{name}" for name in ("outputs", "multirun", "cache")]
    given = ["eval=judge", *base, "judge.model=m", setting, "study=leak", *folders]
    done = run_program("sftdiv.run", *flags, *given, cwd=tmp_path)
    assert done.returncode != 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = "".join(path.read_text(errors="replace") for path in files)
    for text in (done.stdout + done.stderr, written):
        assert SECRET.lower() not in text.lower()


LLM = ["strategy=meso_tag", "strategy/tagger=llm", "strategy.model=m"]
ENDPOINTS = [
    ("sftdiv.run", [*LLM, "stop_after=select", "embedder=none"], "strategy.endpoint"),
    ("sftdiv.regenerate", ["corpus=files", "corpus.path=a.jsonl", "endpoint.model=m"], "endpoint"),
]


@pytest.mark.parametrize(("module", "given", "endpoint"), ENDPOINTS)
@pytest.mark.parametrize("value", [f"api_key_env=sk-live-{SECRET}", f"base_url=http://user:{SECRET}@127.0.0.1:1/v1"])
def test_tagging_and_regenerating_keep_no_refused_secret(tmp_path, module, given, endpoint, value):
    (tmp_path / "a.jsonl").write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    base = [] if "base_url" in value else [f"{endpoint}.base_url=http://127.0.0.1:1/v1"]
    folders = [f"paths.{name}={tmp_path}/{name}" for name in ("outputs", "cache")]
    done = run_program(module, *given, *base, f"{endpoint}.{value}", *folders, cwd=tmp_path)
    assert done.returncode == 1
    assert "not shown" in done.stderr or "holds a password" in done.stderr
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in done.stdout + done.stderr + written


def test_settings_that_are_shown_hide_what_may_be_a_secret(tmp_path):
    secrets = [
        "judge.endpoint.base_url=http://user:hunter2pass@h/v1",
        "judge.endpoint.api_key_env=sk-live-SECRETKEY123",
    ]
    for flag in ("--cfg=job", "--cfg=all"):
        shown = run_program("sftdiv.run", flag, "eval=judge", "judge.model=m", *secrets, cwd=tmp_path)
        assert shown.returncode == 0 and "strategy:" in shown.stdout
        assert "SECRETKEY123" not in shown.stdout + shown.stderr and "hunter2pass" not in shown.stdout + shown.stderr
        assert "api_key_env: '***'" in shown.stdout and "max_tokens: ${judge.max_tokens}" in shown.stdout
