"""A selector without levels names its cells and rows itself; levels and settings without effect share one cell."""

import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError


def cell_of(*overrides):
    return compose_run(list(overrides)).single_cell().name


def test_its_name_stands_in_place_of_strategy_and_level():
    name = cell_of("selector=k_center", "strategy.side=instruction")
    assert name.rpartition("-h")[0] == "k_center-instruction-n2000-tiny-s0"
    assert cell_of("selector=k_center", "size.label_tokens=5000").startswith("k_center-response-t5000-tiny-s0-h")
    columns = compose_run(["selector=k_center", "diversity_level=0.5"]).spec.columns()
    assert (columns["kind"], columns["selector"], columns["level"]) == ("selector", "k_center", None)
    assert columns["strategy"] == "micro_token"  # its units are counted and define the universe
    assert compose_run(["selector=k_center", "strategy=random"]).spec.columns()["kind"] == "selector"
    assert "selector" not in compose_run([]).spec.columns()


def test_all_levels_are_one_cell():
    assert {cell_of("selector=k_center", f"diversity_level={level}") for level in (0, "1/3", 1)} == {
        cell_of("selector=k_center")
    }


def test_what_decides_the_selection_is_another_cell():
    changes = ["strategy=random", "strategy.side=instruction", "size.n=100", "selection.match=length", "seed=1"]
    changes += ["selection.universe=meso_tag", "selection.selector.whiten=true", "embedder=minilm"]
    names = [cell_of("selector=k_center", change) for change in changes]
    names += [cell_of("selector=k_center"), cell_of("selector=log_det"), cell_of()]
    assert len(set(names)) == len(names)


def test_the_whole_universe_and_the_base_model_are_those_of_the_ladder():
    for size in ("full", "none"):
        assert cell_of("selector=k_center", f"size={size}") == cell_of(f"size={size}")
        assert cell_of("selector=deita", f"size={size}", "selection.selector.column=any") == cell_of(f"size={size}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["selector=log_det", "embedder=none"], "selector=log_det compares embeddings, which embedder=none does not"),
        (["selector=facility_location", "selection.selector.quality=0.3"], "belong together"),
        (["selector=novel_select", "selection.selector.ranks=0"], "selection.selector.ranks=0"),
        (["selector=log_det", "selection.selector.alpha=0"], "selection.selector.alpha=0"),
    ],
)
def test_refused_before_anything_is_named(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)


def test_a_column_of_scores_must_be_carried(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"instruction": "Count.", "output": "1", "quality": 2}\n')
    settings = ["corpus=files", f"corpus.path={tmp_path}/pairs.jsonl", "selector=deita"]
    with pytest.raises(SftdivError, match=r"selection.selector.column=quality .* add corpus.columns=\[quality\]"):
        compose_run([*settings, "selection.selector.column=quality"])
