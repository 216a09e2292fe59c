"""A selector that is not a ladder is one Python file and one YAML file, and runs through the real command."""

import json
import os

import pyarrow.parquet as pq
import pytest
from small_runs import environment, paths
from warm_process import run_program

CODE = """
from dataclasses import dataclass

import numpy as np

from sftdiv.records import Selection


@dataclass(frozen=True, kw_only=True)
class LongestResponses:
    descending: bool

    def select(self, problem):
        rows = problem.universe.indices
        lengths = problem.token_ids("response").lengths()[rows]
        order = np.argsort(-lengths if self.descending else lengths, kind="stable")
        chosen = rows[order[: int(problem.size)]]
        return Selection(chosen, {"longest": int(lengths.max())})


@dataclass(frozen=True, kw_only=True)
class FirstRows:
    descending: bool

    def select(self, problem):
        return Selection(problem.universe.indices[: int(problem.size)])
"""


@pytest.fixture
def own(tmp_path):
    """Runs the command with the user's own selectors, and returns the cell's folder with what was printed."""
    (tmp_path / "own_selectors.py").write_text(CODE)
    (tmp_path / "conf" / "selector").mkdir(parents=True)
    for option, name in (("own_longest", "LongestResponses"), ("own_first", "FirstRows")):
        text = f"# @package selection\nselector:\n  _target_: own_selectors.{name}\n  descending: true\n"
        (tmp_path / "conf" / "selector" / f"{option}.yaml").write_text(text)
    pairs = [
        {"instruction": f"Count to {i}.", "output": " ".join(str(j % 9) for j in range(1 + 7 * i % 101))}
        for i in range(200)
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    python_path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])

    def run(*overrides):
        settings = [
            f"corpus.path={tmp_path}/pairs.json",
            "corpus=files",
            "strategy=random",
            "size.n=20",
            "embedder=none",
        ]
        settings += ["stop_after=select", "tracking=none", "corpus.heldout=10", *paths(tmp_path)]
        flags = ["--config-dir", str(tmp_path / "conf")]
        before = set(tmp_path.glob("outputs/single/*"))
        done = run_program("sftdiv.run", *flags, *settings, *overrides, env=environment(PYTHONPATH=python_path))
        assert done.returncode == 0, done.stderr[-3000:]
        new = set(tmp_path.glob("outputs/single/*")) - before
        return (new.pop() if new else None), done

    return run


def test_an_own_selector_needs_one_file_and_one_yaml(own):
    cell, done = own("selector=own_longest", "export.format=messages")
    row = json.loads((cell / "result.json").read_text())
    subset = pq.read_table(cell / "subset.parquet").to_pylist()
    lengths = [len(example["response"]) for example in subset]
    assert row["n"] == len(subset) == 20
    assert lengths == sorted(lengths, reverse=True) and row["longest"] >= max(lengths) // 2
    assert not [name for name in row if name.startswith("k_") or name == "pool"]
    lines = done.stdout.splitlines()
    assert "selector  own_selectors.LongestResponses" in lines
    assert not any(line.startswith("types") for line in lines)
    exported = (cell / "export" / f"{cell.name}.jsonl").read_text().splitlines()
    assert [json.loads(line)["messages"][-1]["content"] for line in exported] == [row["response"] for row in subset]
    (record,) = json.loads((cell / "export" / "lineage.json").read_text()).values()
    assert record["selector"] == {"_target_": "own_selectors.LongestResponses", "descending": True}
    assert "ladder" not in record and record["ids"] == [example["id"] for example in subset]


def test_selectors_never_share_a_cell(own):
    cells = [own(f"selector={selector}")[0] for selector in ("own_longest", "own_first", "ladder")]
    assert None not in cells  # two own classes with equal settings, and the ladder
    again, done = own("selector=own_longest")
    assert again is None and "(finished earlier)" in done.stdout
    assert own("selector=own_longest", "selection.selector.descending=false")[0] is not None


def test_an_edited_selector_is_another_cell_with_its_own_result(own, tmp_path):
    longest, _ = own("selector=own_longest")
    path = tmp_path / "own_selectors.py"
    path.write_text(path.read_text().replace("-lengths if self.descending", "lengths + 0 if self.descending"))
    shortest, _ = own("selector=own_longest")
    assert shortest is not None  # the same command
    means = [json.loads((cell / "result.json").read_text())["subset.response_words"] for cell in (longest, shortest)]
    assert means[1] < means[0]
    assert own("selector=own_longest")[0] is None
