"""The tables of the study page on the shape of the relation, random draws, prediction and common axes."""

from __future__ import annotations

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.tables import (
    WITH_95,
    Columns,
    TableView,
    estimate,
    ladder,
    measurement,
    number,
    share,
    signed,
    table_view,
    words,
)


def shapes(analysis: Analysis) -> TableView:
    """Lack of fit of the line, curvature, and the change in each half of the ladder."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("design", False, lambda row: words(row["design"])),
        ("lack of fit, F", True, lambda row: number(row["lack_of_fit_f"])),
        ("unadjusted p", True, lambda row: number(row["lack_of_fit_p"], 2)),
        ("p (Holm)", True, lambda row: number(row["lack_of_fit_p_holm"], 2)),
        (
            f"quadratic, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "quadratic", times=unit.times, decimals=unit.decimals),
        ),
        (
            f"0 to 1/2, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "first_half", times=unit.times, decimals=unit.decimals),
        ),
        (
            f"1/2 to 1, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "second_half", times=unit.times, decimals=unit.decimals),
        ),
    ]
    return table_view("shapes", analysis.shapes, columns, "No ladder has three levels.")


def against_random(analysis: Analysis) -> TableView:
    """Level 1 against random draws."""
    unit = score_unit(analysis)
    table = analysis.against_random
    rows = table.assign(difference_low=table["low"], difference_high=table["high"])
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("level 1", True, lambda row: measurement(row["level_1"])),
        ("random", True, lambda row: measurement(row["random"])),
        (
            f"level 1 less random, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "difference", se="se", times=unit.times, decimals=unit.decimals),
        ),
        ("runs", True, lambda row: number(row["runs"])),
        ("unadjusted p", True, lambda row: number(row["p"], 2)),
        ("p (Holm)", True, lambda row: number(row["p_holm"], 2)),
        ("no finding because", False, lambda row: words(row["status"])),
    ]
    return table_view("against-random", rows, columns, "No random draws from the universe of a ladder with level 1.")


def prediction(analysis: Analysis) -> TableView:
    """Prediction of left-out series."""
    columns: Columns = [
        ("predictor", False, lambda row: words(str(row["predictor"]).removeprefix("diversity.").replace("_", " "))),
        ("series", True, lambda row: number(row["series"])),
        ("n", True, lambda row: number(row["n"])),
        ("R² left out", True, lambda row: signed(row["r2_out"])),
        ("R² fitted", True, lambda row: share(row["r2_in"])),
        ("series with the predicted sign", True, lambda row: share(row["same_sign"])),
    ]
    return table_view("prediction", analysis.prediction, columns, "Fewer than three ladders: none can be left out.")


def axes(analysis: Analysis) -> TableView:
    """One line over all series on each common axis."""
    columns: Columns = [
        ("axis", False, lambda row: words(row["axis"])),
        ("series", True, lambda row: number(row["series"])),
        ("n", True, lambda row: number(row["n"])),
        ("slope per unit of the axis", True, lambda row: number(row["slope"])),
        ("R² of one line", True, lambda row: share(row["r2"])),
        ("R² of one line on the level", True, lambda row: share(row["r2_level"])),
    ]
    return table_view("axes", analysis.axes, columns, "The rows have no common axis (columns axis.NAME).")


def equivalent(analysis: Analysis) -> TableView:
    """Levels of the reference series with the same value of a common axis."""
    columns: Columns = [
        ("axis", False, lambda row: words(row["axis"])),
        ("series", False, lambda row: ladder(row["ladder"])),
        ("level", True, lambda row: number(row["level"])),
        ("value", True, lambda row: measurement(row["value"])),
        ("reference", False, lambda row: ladder(row["reference"])),
        ("equivalent level", True, lambda row: measurement(row["equivalent_level"], 2)),
    ]
    return table_view("equivalent", analysis.equivalent, columns, "No common axis with two ladders.")
