"""Selectors by score, by unit types and by the base model through the real command, in one program."""

import json

import pyarrow.parquet as pq
import pytest
from small_runs import SMALL, environment, paths, warm_cache
from warm_process import run_program

from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError

SELECTORS = ("longest", "perplexity", "ifd", "coverage", "instag")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Cells by selector, of one sweep in one process."""
    folder = warm_cache(tmp_path_factory.mktemp("selectors"))
    settings = [*SMALL, *paths(folder), "stop_after=train", "tracking=none", "sweep.isolate=false", "study=rivals"]
    done = run_program("sftdiv.run", "-m", *settings, f"selector={','.join(SELECTORS)}", env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return {cell.name.partition("-")[0]: cell for cell in (folder / "multirun" / "rivals").glob("*-n150-*")}


def test_selectors_share_the_losses_of_a_model(cells):
    """Perplexity and IFD read the same losses after the instruction; IFD reads those of responses alone, too."""
    losses = next(iter(cells.values())).parents[2] / "cache" / "response_losses"
    assert len([entry for entry in losses.iterdir() if entry.is_dir()]) == 2


def test_each_selector_has_a_cell_with_a_trained_model_and_its_columns(cells):
    assert sorted(cells) == sorted(SELECTORS)
    rows = {name: json.loads((cell / "result.json").read_text()) for name, cell in cells.items()}
    subsets = {name: pq.read_table(cell / "subset.parquet").to_pylist() for name, cell in cells.items()}
    for name, row in rows.items():
        assert (row["selector"], row["kind"], row["level"], row["n"]) == (name, "selector", None, 150)
        assert len({example["id"] for example in subsets[name]}) == 150 and (cells[name] / "model").is_dir()
    assert rows["longest"]["response_tokens.subset"] > rows["longest"]["response_tokens.universe"]
    assert rows["perplexity"]["perplexity.subset"] == pytest.approx(rows["perplexity"]["perplexity.universe"], rel=0.1)
    assert rows["ifd"]["ifd.universe"] < rows["ifd"]["ifd.subset"] < 1
    assert rows["coverage"]["types.subset"] > max(rows[name]["types.subset"] for name in ("longest", "perplexity"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["selector=ifd", "stop_after=select"], "selector=ifd reads the examples with the base model"),
        (["selector=mig", "strategy=meso_tag"], "selector=mig embeds the names of unit types"),
        (["selector=mig", "embedder=none"], "use embedder=minilm"),
        (["selector=column"], r"selection\.selector\.column must be given"),
        (["selector=rds_plus"], r"selection\.targets\.path must be given"),
    ],
)
def test_a_selector_without_what_it_needs_is_refused_before_any_work(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)


def test_targets_of_rds_plus_are_dropped_from_the_corpus_and_name_the_cell(tmp_path):
    def request(folder, instruction):
        path = tmp_path / folder / "targets.jsonl"
        path.parent.mkdir()
        path.write_text(json.dumps({"instruction": instruction, "output": "Topaz."}) + "\n")
        return compose_run(["selector=rds_plus", f"selection.targets.path={path}"])

    first, second = request("a", "Which stone does the salmon shine like?"), request("b", "Another one?")
    assert first.single_cell().name != second.single_cell().name
    decontamination = second.spec.corpus.decontamination
    assert decontamination.drops and [list(each.texts) for each in decontamination.load()] == [["Another one?"]]
