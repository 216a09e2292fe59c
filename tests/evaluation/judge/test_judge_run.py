"""A whole run with a judge, as a user types it: killed amid the verdicts, gone on with, and its key nowhere."""

import json
import time

from fake_judges import MODEL, weighing
from fake_openai_server import Behaviour, serving
from small_runs import only_cell, run_small, start_small, warm_cache

FEW = [
    "eval=[embedded,judge]",
    "eval.limit=20",
    f"judge.model={MODEL}",
    "judge.endpoint.api_key_env=JUDGE_KEY",
    "judge.endpoint.concurrency=4",
]


def test_a_run_killed_amid_the_verdicts_goes_on_and_its_key_is_nowhere(tmp_path):
    behaviour = Behaviour(reply=weighing, models=[MODEL], key="sk-very-secret", delay=0.5)
    warm_cache(tmp_path)
    with serving(behaviour) as address, (tmp_path / "log").open("w") as log:
        asked = [*FEW, f"judge.endpoint.base_url={address}"]
        process = start_small(tmp_path, *asked, JUDGE_KEY="sk-very-secret", stdout=log, stderr=log)
        deadline = time.monotonic() + 250
        while time.monotonic() < deadline and process.poll() is None and len(behaviour.requests) < 12:
            time.sleep(0.05)
        process.kill()
        process.wait()
        store = only_cell(tmp_path) / "evaluation" / "judge" / "verdicts.jsonl"
        done = store.read_bytes().count(b"\n")
        assert 0 < done < 40, (tmp_path / "log").read_text()[-3000:]
        behaviour.delay = 0.0
        before = len(behaviour.requests)
        finished = run_small(tmp_path, *asked, JUDGE_KEY="sk-very-secret")
        assert finished.returncode == 0, finished.stderr[-3000:]
        assert "very-secret" not in finished.stdout + finished.stderr
    row = json.loads((only_cell(tmp_path) / "result.json").read_text())
    assert row["eval"] == "embedded+judge" and row["primary"] == "sftdiv_embedded_mc.word_probability"
    assert 0 <= row["score.judge.win_rate"] <= 1
    verdicts = row["score.judge.calls"]  # of 40: models that hardly learned give some equal answers
    assert (
        12 <= verdicts <= 40 and len(behaviour.requests) - before == 1 + verdicts - done
    )  # the one before training, and what was missing
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in files)
    assert not [path for path in files if b"very-secret" in path.read_bytes()]
