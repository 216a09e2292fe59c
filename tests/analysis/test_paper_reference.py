"""The published points give the published slopes and the intervals that the paper's README states, and a study with
the paper's own points lies on them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_study import synthetic_row, write_cell, write_synthetic_study

from sftdiv.analysis.analysis import analyze
from sftdiv.analysis.paper_comparison import paper_comparison
from sftdiv.analysis.paper_protocol import AS_PAPER, DECIDED, DEVIATES, UNKNOWN, protocol_table
from sftdiv.analysis.paper_slopes import paper_points, paper_slopes
from sftdiv.analysis.study import load_study
from sftdiv.config.from_python import compose_run
from sftdiv.diversity.registry import PAPER_METRICS, detail_columns

TABLE = {  # the paper's table: size -> side -> macro, meso, micro
    10_000: {"instruction": (2.37, 4.93, -5.45), "response": (0.73, 3.61, 5.35)},
    20_000: {"instruction": (1.67, 3.75, -2.83), "response": (0.97, 3.0, 6.68)},  # meso of the response: the figure's
    30_000: {"instruction": (1.45, 2.07, -1.80), "response": (0.59, 2.5, 10.06)},
}
STRATEGIES = {"macro_topic": "macro_topic_umap", "meso_tag": "meso_tag_llm", "micro_token": "micro_token"}
ENDPOINTS = [
    "judge.endpoint.base_url=http://localhost:1/v1",
    "judge.model=nvidia/Llama-3.1-Nemotron-70B-Instruct",
    "tags.endpoint.base_url=http://localhost:1/v1",
    "tags.model=a",
]


@pytest.fixture
def main():
    slopes = paper_slopes()
    return slopes[slopes["figure"] == 3].set_index(["size", "side", "strategy"])


def test_the_points_are_six_strategy_sides_in_three_sizes_on_seven_levels():
    points = paper_points()
    assert len(points) == 155 and (points["figure"] == 3).sum() == 126
    assert (points[points["figure"] == 3].groupby(["side", "size", "strategy"])["level"].nunique() == 7).all()
    assert points["win_rate"].between(41, 66).all()


def test_the_slopes_are_those_of_the_papers_table(main):
    """Read off to 0.1 points, a slope is uncertain by about 0.1."""
    for size, sides in TABLE.items():
        for side, values in sides.items():
            for strategy, value in zip(STRATEGIES, values, strict=True):
                assert main.loc[(size, side, strategy), "slope"] == pytest.approx(value, abs=0.1)


def test_pooled_a_slope_is_known_to_3_points_and_alone_four_exclude_zero(main):
    assert main["pooled_sd"].iloc[0] == pytest.approx(1.45, abs=0.005)
    assert (main["slope_high"] - main["slope"]).to_numpy() == pytest.approx(np.full(18, 3.27), abs=0.01)
    micro = main.loc[(10_000, "response", "micro_token")]
    assert (micro["slope"], micro["alone_low"], micro["alone_high"]) == pytest.approx((5.3, -0.8, 11.5), abs=0.06)
    alone = main[(main["alone_low"] > 0) | (main["alone_high"] < 0)]
    assert set(alone.index) == {
        (10_000, "instruction", "meso_tag"),
        (20_000, "instruction", "meso_tag"),
        (10_000, "instruction", "micro_token"),
        (30_000, "response", "micro_token"),
    }


def test_micro_on_the_response_saturates(main):
    """The README's quadratic terms are on the level stretched to [-1, 1], a quarter of those on [0, 1]."""
    micro = main.xs(("response", "micro_token"), level=("side", "strategy"))
    assert (micro["quadratic"] / 4).to_numpy() == pytest.approx([-4.2, -5.0, -2.1], abs=0.05)
    assert (micro["quadratic_se"] / 4).to_numpy() == pytest.approx([1.0, 1.1, 0.6], abs=0.06)


def test_the_ablations_are_those_of_figures_5_and_6():
    slopes = paper_slopes()
    ablations = slopes[slopes["variant"] != ""].set_index("variant")
    stated = {
        "Llama-2-70B": (4.0, 0.6),
        "Llama-3-8B": (11.8, 1.0),
        "length held near 500": (3.2, 1.0),
        "whitespace words": (1.3, 1.0),
    }
    for name, (slope, se) in stated.items():
        assert tuple(ablations.loc[name, ["slope", "alone_se"]]) == pytest.approx((slope, se), abs=0.08)


def study_of_the_papers_points(folder: Path, overrides=()):
    """The folder that ``+experiment=paper_exact`` would leave if every run scored as in the paper."""
    (folder / "mine.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    points = paper_points()
    for (strategy, side), ladder in points[points["figure"] == 3].groupby(["strategy", "side"]):
        option = "meso_tag" if strategy == "meso_tag" and "tags=keyphrase" in overrides else STRATEGIES[strategy]
        endpoints = [text for text in ENDPOINTS if "tags=keyphrase" not in overrides or not text.startswith("tags")]
        chosen = [f"strategy={option}", f"strategy.side={side}", f"corpus.path={folder / 'mine.jsonl'}"]
        settings = compose_run(["+experiment=paper_exact", *endpoints, *chosen, *overrides]).settings
        for size, level, win_rate in ladder[["size", "level", "win_rate"]].itertuples(index=False):
            row = synthetic_row("exact", strategy, side, level, 0, 0.0, size=size)
            row = {name: value for name, value in row.items() if not name.startswith("score.")}
            row |= {
                "primary": "judge.win_rate",
                "score.judge.win_rate": win_rate / 100,
                "corpus.count.examples": 110_871,
            }
            write_cell(folder / "exact", row, config=settings)
    return load_study(folder / "exact")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return study_of_the_papers_points(tmp_path_factory.mktemp("exact"))


def test_the_preset_deviates_in_nothing_that_the_paper_states(exact):
    verdicts = protocol_table(exact).set_index("step")["verdict"]
    assert set(verdicts) == {AS_PAPER, DECIDED, UNKNOWN}
    assert list(verdicts[verdicts == UNKNOWN].index) == ["responses", "conversations"]
    assert verdicts[["tags", "topics", "band of tokens", "judge", "levels"]].eq(AS_PAPER).all()


def test_each_change_of_the_preset_is_a_deviation(tmp_path):
    study = study_of_the_papers_points(tmp_path, ["tags=keyphrase", "corpus.band.unit=occurrences"])
    table = protocol_table(study).set_index("step")
    assert table.loc[table["verdict"] == DEVIATES, "study"].to_dict() == {
        "tags": "key phrases",
        "band of tokens": "10 to 500 occurrences",
    }


def test_the_papers_points_as_a_study_lie_on_the_papers_slopes(exact):
    analysis = analyze(exact, first_metrics=PAPER_METRICS, detail_metrics=detail_columns())
    table = paper_comparison(analysis.slopes, analysis.shapes)
    assert len(table) == 18 and (table["sign"] == "same").all() and (table["curvature"] == "same").all()
    assert (table["paper_size"] == table["size"]).all()
    for ours, theirs, times in (("slope", "paper_slope", 100), ("noise", "paper_noise", 1)):
        pd.testing.assert_series_equal(table[ours].astype(float) * times, table[theirs], check_names=False)


def test_a_series_stands_beside_the_closest_size_and_others_are_left_out(tmp_path):
    slopes = {("micro_token", "response"): 0.08, ("micro_token", "instruction"): 0.08}
    folder = write_synthetic_study(
        tmp_path / "small", slopes=slopes, sizes=[14_000, 15_000], matches=["none"], baselines=False
    )
    analysis = analyze(load_study(folder), first_metrics=PAPER_METRICS, detail_metrics=detail_columns())
    table = paper_comparison(analysis.slopes, analysis.shapes)
    assert table.groupby("size")["paper_size"].unique().map(list).to_dict() == {14_000: [10_000], 15_000: [20_000]}
    assert table.set_index(["side", "size"])["sign"].to_dict() == {
        ("instruction", 14_000): "opposite",
        ("instruction", 15_000): "opposite",
        ("response", 14_000): "same",
        ("response", 15_000): "same",
    }
    others = analysis.slopes.assign(strategy="placebo")
    assert paper_comparison(others, analysis.shapes).empty
