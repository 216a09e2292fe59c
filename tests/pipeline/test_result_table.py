"""The row of a cell in the terminal."""

from sftdiv.pipeline.result_table import result_lines, show_result

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
    ratios = {
        f"diversity.response.ngram_ratio{size}": value for size, value in (("", 0.25), ("_2", 0.125), ("_3", 0.5))
    }
    show_result(ROW | ratios | {"diversity.response.distinct_2": 0.5}, tmp_path, done_before=False)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["ngram_ratio", "\u2014", "0.25"] in lines and ["distinct_2", "\u2014", "0.5"] in lines
    assert ["ngram_ratio_2", "\u2014", "0.125"] in lines  # of the paper's seven metrics, as is that of single words
    assert "ngram_ratio_3" not in shown


def test_the_scores_come_first_then_diversity_then_where_the_files_are(tmp_path):
    scores = {"score.task": 0.5, "score.task.stderr": 0.01, "score.other.with_a_long_name": 0.25}
    row = ROW | {"diversity.response.entropy": 7.5, "diversity.instruction.entropy": 7.0} | scores
    lines = result_lines(row, tmp_path)
    assert lines[:4] == [
        "score.task                    0.5 \u00b1 0.01  primary",
        "score.other.with_a_long_name  0.25",
        "diversity  instruction  response",
        "  entropy  7            7.5",
    ]
    assert lines[-1] == f"files     {tmp_path}"


def test_what_may_not_be_selected_is_counted(tmp_path):
    counts = {"left_out.heldout": 100, "left_out.read_by_base": 1200, "left_out.no_unit": 0}
    lines = result_lines(ROW | counts, tmp_path)
    assert lines[0] == (
        "left out  1,300 (99.4%) of 1,308 rows: held out for evaluation (corpus.heldout) 100 (7.6%), "
        "read by the base model (model.pretrain_share) 1,200 (91.7%)"
    )


def test_metrics_without_a_value_on_either_side_take_no_line(tmp_path):
    below_the_budget = {f"diversity.{side}.entropy_at_tokens": None for side in ("instruction", "response")}
    lines = result_lines(ROW | {"diversity.response.entropy": 7.5} | below_the_budget, tmp_path)
    assert any("entropy" in line for line in lines) and not any("entropy_at_tokens" in line for line in lines)
