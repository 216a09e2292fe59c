"""The unit in which a study shows differences of performance: points of a rate, nats of a loss, or the score's own."""

from __future__ import annotations

from dataclasses import dataclass

from sftdiv.analysis.analysis import Analysis

RATES = {  # last part of a score's name -> what its points are points of
    "win_rate": "win rate",
    "length_controlled_win_rate": "length-controlled win rate",
    "acc": "accuracy",
    "acc_norm": "normalised accuracy",
    "acc_bytes": "normalised accuracy",
    "acc_mutual_info": "accuracy",
    "exact_match": "exact match",
    "word_probability": "word probability",
    "f1": "F1",
    "mean": "mean score",
}
LIKELIHOODS = {"gold_logprob": "nats per item", "gold_logprob_bytes": "nats per byte"}
LOSSES = {"loss_token": "nats per token", "loss_sample": "nats per example", "loss": "nats"}


@dataclass(frozen=True)
class ScoreUnit:
    """How differences of performance are shown.

    Attributes:
        name: Name of the unit, such as ``points of accuracy`` or ``nats per token``.
        times: Factor from the score to the unit.
        decimals: Decimals of a difference.
        direction: What a positive difference means where it is not a higher score; else empty.
    """

    name: str
    times: float
    decimals: int
    direction: str = ""


def score_unit(analysis: Analysis) -> ScoreUnit:
    """The unit of the study's primary score; points are hundredths of a rate, and a loss has nats."""
    cells = analysis.study.cells
    names = cells["primary"].dropna().unique()
    if len(names) != 1:
        return ScoreUnit("units of the score", 1.0, 4)
    scored = cells[cells["primary"].notna()]  # other cells have no direction
    direction = "" if scored["higher_is_better"].astype(bool).all() else "positive: the score falls, which is better"
    parts = str(names[0]).split(".")
    if likelihood := next((LIKELIHOODS[part] for part in parts if part in LIKELIHOODS), None):
        return ScoreUnit(likelihood, 1.0, 4, direction)
    last = next((part for part in reversed(parts) if part in RATES or "loss" in part), "")
    if "loss" in last:
        unit = LOSSES.get(last, "nats")
        return ScoreUnit(unit, 1.0, 4, direction.replace("the score", "the loss"))
    if last:
        return ScoreUnit(f"points of {RATES[last]}", 100.0, 2, direction)
    return ScoreUnit(f"units of {names[0]}", 1.0, 4, direction)
