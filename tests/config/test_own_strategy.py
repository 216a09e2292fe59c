"""A strategy of the user's own (``--config-dir``) is known wherever those of the package are."""

import json

import pytest
from small_runs import environment, paths
from warm_process import run_program

from sftdiv.config.app import options_of

STRATEGY = """
name: mine
side: response
needs: token_ids
tokenizer: words
units: {_target_: sftdiv.units.tokens.TokenUnits, low: 1, high: 300, unit: documents, scale: absolute}
"""


@pytest.fixture
def own(tmp_path):
    """Arguments that read small data and the user's folder of options."""
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "mine.yaml").write_text(STRATEGY)
    rows = [{"instruction": f"Say {i}.", "output": f"word{i} and word{i % 150} again"} for i in range(300)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--config-dir", str(tmp_path / "conf"), "corpus=files", f"corpus.path={tmp_path}/pairs.jsonl"]


def test_its_baselines_draw_from_its_universe(own, tmp_path):
    settings = ["size.n=20", "stop_after=select", "embedder=none", "tracking=none", "sweep.isolate=false"]
    arguments = [*settings, "strategy=mine", "diversity_level=0,1", "sweep=grid", "study=own"]
    done = run_program("sftdiv.run", "-m", *own, *arguments, *paths(tmp_path), env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(path.read_text()) for path in (tmp_path / "multirun" / "own").glob("*/result.json")]
    assert sorted((row["kind"], row["strategy"], row["universe_of"]) for row in rows) == [
        ("base", "random", "own"),
        ("full", "random", "own"),
        ("level", "mine", "own"),
        ("level", "mine", "own"),
        ("random", "random", "mine"),
    ]


def test_its_units_are_measured(own, tmp_path):
    arguments = ["metrics=[length]", "near_duplicates=null", "+units.mine.sides=[response]"]
    folders = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
    done = run_program("sftdiv.measure", *own, *arguments, *folders, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = (tmp_path / "outputs" / "measure").glob("*/measure.json")
    assert '"mine"' in report.read_text()


def test_messages_list_it_among_the_known(own, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sftdiv", *own])
    assert {"mine", "micro_token"} <= set(options_of("strategy"))
    monkeypatch.setattr("sys.argv", ["sftdiv", f"--config-dir={own[1]}"])
    assert "mine" in options_of("strategy")
    monkeypatch.setattr("sys.argv", ["sftdiv"])
    assert "mine" not in options_of("strategy")
