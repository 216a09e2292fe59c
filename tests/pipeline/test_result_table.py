"""The row of a cell in the terminal."""

from sftdiv.pipeline.result_table import show_result

ROW = {
    "cell": "c",
    "n": 2,
    "strategy": "s",
    "side": "response",
    "level": 0.5,
    "match": "none",
    "pool": 4,
    "universe": 8,
}
ROW |= {"k_asked": 1, "k_max": 2, "k_min": 1, "k_reached": 1, "primary": "task"}
ROW |= {"diversity.units.per_example": 1.0, "diversity.units.entropy": 1.0}


def test_a_familys_summary_is_shown_without_its_details(tmp_path, capsys):
    ratios = {"diversity.response.ngram_ratio": 0.25, "diversity.response.ngram_ratio_2": 0.125}
    show_result(ROW | ratios | {"diversity.response.distinct_2": 0.5}, tmp_path, done_before=False)
    shown = capsys.readouterr().out
    assert "ngram_ratio 0.25" in shown and "distinct_2 0.5" in shown and "ngram_ratio_2" not in shown
