"""The Python API: the same ids as the commands, data in every form, and every example of the docstrings run."""

import doctest
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from synthetic_study import write_synthetic_study
from warm_process import run_program

import sftdiv
from sftdiv import api
from sftdiv.pipeline import api_results
from sftdiv.records import SftdivError
from sftdiv.storage.files import finite

TOPICS = [
    "river",
    "bread",
    "stone",
    "cloud",
    "violin",
    "harbour",
    "garden",
    "engine",
    "letter",
    "planet",
    "winter",
    "castle",
    "mirror",
    "forest",
    "bridge",
]
TOPICS += ["candle", "desert", "ladder", "market", "ribbon"]
ROWS = [
    {
        "instruction": f"Tell me about the {TOPICS[i % 20]} number {i}.",
        "output": f"The {TOPICS[i % 20]} {i} is {'very ' * (i % 5)}old, and the {TOPICS[i % 7]} is not.",
        "source": ["a", "b"][i % 2],
    }
    for i in range(600)
]
SETTINGS = {"corpus.heldout": 20, "corpus.band.low": 1, "corpus.band.high": 600}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTDIV_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def ids(subset):
    return subset.dataset["id"][:]


def test_importing_sftdiv_costs_nothing():
    program = "import sys, sftdiv; print(sorted(set(sys.modules) & {'numpy', 'torch', 'hydra', 'datasets'}))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("strategy", ["micro_token", "meso_tag"])
def test_selecting_by_tokens_or_tags_needs_no_torch(path, strategy):
    program = f"""
import sys, sftdiv
subset = sftdiv.select({str(path)!r}, n=40, strategy={strategy!r}, **{SETTINGS!r})
print(len(subset), "torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "40 False\n"


def test_the_ids_are_those_of_the_command(path, tmp_path):
    """Also the same numbers, for the same settings."""
    overrides = ["corpus=files", f"corpus.path={path}", "size.n=40", "strategy=micro_token", "diversity_level=1/2"]
    overrides += [f"{key}={value}" for key, value in SETTINGS.items()]
    overrides += ["embedder=none", "stop_after=select", "selection.match=length", "tracking=none"]
    run_program("sftdiv.run", *overrides, f"paths.outputs={tmp_path / 'outputs'}").check_returncode()
    (cell,) = (tmp_path / "outputs" / "single").iterdir()
    subset = sftdiv.select(path, n=40, level="1/2", match="length", **SETTINGS)
    assert ids(subset) == pq.read_table(cell / "subset.parquet").column("id").to_pylist()
    row = json.loads((cell / "result.json").read_text())
    shared = set(subset.report) & set(row)
    assert {"k_asked", "pool", "diversity.response.entropy", "units.low", "corpus.count.examples"} <= shared
    assert finite({key: subset.report[key] for key in shared}) == {key: row[key] for key in shared}


def test_data_may_come_in_any_form(path):
    forms = [str(path), path, ROWS, pd.DataFrame(ROWS), datasets.Dataset.from_list(ROWS)]
    subsets = [sftdiv.select(data, n=30, strategy="random", **SETTINGS) for data in forms]
    assert {tuple(ids(subset)) for subset in subsets} == {tuple(ids(subsets[0]))}
    assert all((subset.indices == subsets[0].indices).all() for subset in subsets)
    for position, messages in zip(subsets[2].indices, subsets[2].dataset["messages"], strict=True):
        assert ROWS[position]["output"] == messages[1]["content"]


def test_levels_of_a_ladder_are_those_selected_one_by_one(path):
    levels = [0, "1/2", 1.0]
    together = sftdiv.ladder(path, n=40, strategy="meso_tag", levels=levels, **SETTINGS)
    alone = [sftdiv.select(path, n=40, strategy="meso_tag", level=level, **SETTINGS) for level in levels]
    assert [ids(subset) for subset in together] == [ids(subset) for subset in alone]
    types = [subset.report["diversity.units.types"] for subset in together]
    assert types == sorted(set(types))


def test_settings_may_be_written_in_three_ways(path):
    ways = [{"corpus__dedup": "none"}, {"corpus.dedup": "none"}, {"corpus": {"dedup": "none"}}]
    subsets = [sftdiv.select(path, n=30, strategy="random", **SETTINGS, **way) for way in ways]
    assert {tuple(ids(subset)) for subset in subsets} == {tuple(ids(subsets[0]))}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 1.5}, r"diversity_level=1.5 must be a number in \[0, 1\]"),
        ({"strategy": "micro"}, "micro_token"),
        ({"corpus__skwe": 1}, "unknown setting 'corpus.skwe'"),
        ({"match": "lenght"}, "Did you mean 'length'"),
        ({"n": 5000}, "The largest feasible size is"),
        ({"n": 0}, "n=0 selects nothing"),
    ],
)
def test_mistakes_are_explained_as_on_the_command_line(path, settings, message):
    with pytest.raises(SftdivError, match=message):
        sftdiv.select(path, **{"n": 30, **SETTINGS, **settings})


@pytest.mark.parametrize("data", [[], [1, 2], {"a": 1}, 7])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(SftdivError, match=r"data"):
        sftdiv.select(data, n=1)


def test_a_ladder_without_levels_is_refused(path):
    with pytest.raises(SftdivError, match="levels is empty"):
        sftdiv.ladder(path, n=30, levels=[], **SETTINGS)


def test_a_split_must_be_chosen():
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS)})
    with pytest.raises(SftdivError, match="choose one of its splits: 'train', 'test'"):
        sftdiv.select(splits, n=30)


def test_numbers_of_numpy_and_missing_values_of_pandas(path):
    plain = sftdiv.select(ROWS, n=30, strategy="meso_tag", level=0.5, seed=1, **SETTINGS)
    rows = [{**row, "input": float("nan"), "score": np.float32(1.5)} for row in ROWS]
    scalars = {"level": np.float64(0.5), "seed": np.int64(1), "corpus__columns": np.array(["score"])}
    subset = sftdiv.select(rows, n=np.int64(30), strategy="meso_tag", **scalars, **SETTINGS)
    assert subset.indices.tolist() == plain.indices.tolist()
    assert set(subset.dataset["score"]) == {1.5}
    universe = plain.report["universe"]
    shown = f"Subset(30 examples of {universe} that may be selected; meso_tag on the instruction, level 0.5)"
    assert repr(subset) == shown


def test_calls_from_several_threads(path):
    with ThreadPoolExecutor(3) as threads:
        subsets = list(
            threads.map(lambda seed: sftdiv.select(path, n=30, strategy="random", seed=seed, **SETTINGS), [1, 1, 2])
        )
    first, same, other = (subset.indices.tolist() for subset in subsets)
    assert first == same != other


def test_a_subset_is_saved_as_other_programs_load_it(path, tmp_path):
    subset = sftdiv.select(path, n=30, strategy="random", **SETTINGS)
    for name, format in (("a.jsonl", "messages"), ("b.jsonl", "sharegpt"), ("c.parquet", "parquet")):
        assert len(datasets.Dataset.from_dict({"path": [str(subset.save(tmp_path / name, format=format))]})) == 1
    again = sftdiv.select(tmp_path / "a.jsonl", n=10, strategy="random", corpus__heldout=0, corpus__band__low=1)
    assert len(again) == 10
    before = (tmp_path / "a.jsonl").read_text()
    with pytest.raises(SftdivError, match=r"a.txt: the format sharegpt is written as .jsonl: a.jsonl"):
        subset.save(tmp_path / "a.txt", format="sharegpt")
    assert (tmp_path / "a.jsonl").read_text() == before  # an earlier export of that name is left alone
    with pytest.raises(SftdivError, match=r"a.txt: the format messages is written as .jsonl: a.jsonl"):
        subset.save(tmp_path / "other" / "a.txt")
    assert not (tmp_path / "other").exists()


def test_a_report_has_a_table_and_a_page(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = {
        "near_duplicates": None,
        "metrics": ["length", "entropy"],
        "units": {"macro_topic": None, "meso_tag": None},
    }
    report = sftdiv.measure(ROWS[:300], baseline=ROWS[300:], **quick)
    assert list(report.table.columns) == ["value", "baseline"]
    words = np.mean([len(row["output"].replace(",", " ,").replace(".", " .").split()) for row in ROWS[:300]])
    assert report.table.loc[("response", "length"), "value"] == pytest.approx(words)
    page = report.to_html(tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert report._repr_html_().startswith("<iframe")
    assert repr(report).startswith("Report(300 examples beside 300 examples; ")


def test_every_example_in_the_docstrings_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = write_synthetic_study(
        tmp_path / "study",
        slopes={("micro_token", "response"): 0.2},
        matches=("none",),
        levels=(0.0, 0.5, 1.0),
        seeds=(0, 1),
    )
    names = {"sftdiv": sftdiv, "rows": ROWS, "folder": tmp_path, "study_folder": study}
    finder = doctest.DocTestFinder(recurse=True)
    tests = [test for module in (api, api_results) for test in finder.find(module, extraglobs=names)]
    examples = [test for test in tests if test.examples]
    assert len(examples) >= 7
    for example in examples:
        output = []
        failures = doctest.DocTestRunner().run(example, out=output.append)
        assert failures.failed == 0, "".join(output)
