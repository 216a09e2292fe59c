"""The findings of a study in a few sentences that claim no more than its tables."""

from __future__ import annotations

from numbers import Real

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.inference import LEAST_DEGREES, LEAST_LADDERS, ONE_LADDER, TOO_FEW
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.reporting.format import format_interval, format_number, format_signed
from sftdiv.reporting.study.score_unit import ScoreUnit, score_unit
from sftdiv.reporting.study.study_views import excludes_zero, is_finding, level_slopes, with_settings

LEVEL = 0.05  # of a test
MAX_RELATIONS, MAX_SLOPES = 8, 4  # pairs of strategy and side described, and slopes of each
TERMS = {
    "strategy": "strategies",
    "side": "sides",
    "size": "sizes",
    "budget": "budgets",
    "match": "matched for",
    "level": "levels",
}


def setting_facts(analysis: Analysis) -> list[tuple[str, str]]:
    """The swept and fixed settings of the study, as (term, values)."""
    cells, failures = analysis.study.cells, analysis.study.failures
    swept = cells[cells["kind"] == "level"]
    counts = f"{len(cells):,} finished ({len(swept):,} of them on a ladder), {len(failures):,} failed"
    facts = [("cells", counts), *((term, _values(swept[column])) for column, term in TERMS.items())]
    facts += [("ladders per series", _values(analysis.slopes["ladders"]))]
    facts += [(term, _values(cells[term])) for term in ("seed", "model", "corpus", "eval")]
    return [*facts, ("performance", _values(cells["primary"]))]


def _values(column: pd.Series) -> str:
    values = sorted(column.dropna().unique())
    texts = [format_number(float(value), 3) if isinstance(value, Real) else str(value) for value in values]
    return ", ".join(texts) or "none"


def versions(analysis: Analysis) -> list[tuple[str, str]]:
    """Libraries and their versions according to the rows."""
    cells = analysis.study.cells
    columns = [name for name in sorted(cells.columns) if name.startswith("versions.")]
    return [(name.removeprefix("versions."), _values(cells[name])) for name in columns]


def sentences(analysis: Analysis) -> list[str]:
    """The findings, strongest relations first; what cannot be a finding is named as such after them."""
    slopes = with_settings(level_slopes(analysis))
    known = slopes[slopes["slope_low"].notna()]
    if known.empty:
        return ["No ladder has enough cells for a slope with an interval; see the notes."]
    eligible, rest = known[known["status"] == ""], known[known["status"] != ""]
    findings = _counts(eligible) if len(eligible) else []
    unit, groups = score_unit(analysis), []
    for _, group in eligible.groupby(["strategy", "side"], sort=False):
        if any(is_finding(row) for _, row in group.iterrows()):
            groups.append(group)
    groups.sort(key=lambda group: -group["slope"].abs().max())
    findings += [_relation(group, unit) for group in groups[:MAX_RELATIONS]]
    if len(groups) > MAX_RELATIONS:
        findings.append(f"{len(groups) - MAX_RELATIONS} more strategies and sides are in the table.")
    findings += [_no_finding(str(status), group) for status, group in rest.groupby("status", sort=True)]
    return [*findings, _noise_sentence(analysis, unit)]


def _counts(known: pd.DataFrame) -> list[str]:
    """How many slopes exclude zero, before and after correction."""
    significant = int(sum(is_finding(row) for _, row in known.iterrows()))
    corrected = int((known["slope_p_holm"] < LEVEL).sum())
    verb, expected = "has" if significant == 1 else "have", format_number(len(known) * LEVEL, 2)
    return [
        f"{significant or 'None'} of {len(known)} slopes of performance on the diversity level {verb} a 95 % interval "
        f"that excludes zero; without any relation, about {expected} would have one by chance. "
        f"{corrected or 'None'} remain{'s' if corrected == 1 else ''} at 5 % after Holm's correction."
    ]


def _no_finding(status: str, group: pd.DataFrame) -> str:
    """Slopes that cannot be findings, and why."""
    outside = int(sum(excludes_zero(row) for _, row in group.iterrows()))
    reasons = {
        TOO_FEW: f"at least {LEAST_LADDERS} ladders and {LEAST_DEGREES} degrees of freedom are needed",
        ONE_LADDER: "all runs of a series share one draw of the types that each level keeps, and other draws "
        "may differ (replicate=0,1,2,... draws more)",
    }
    why = "; ".join(text for key, text in reasons.items() if key in status)
    slopes = f"{len(group)} slope{'s' if len(group) > 1 else ''}"
    return f"{status.capitalize()}: {slopes} ({outside} with an interval that excludes zero) cannot be findings: {why}."


def _relation(group: pd.DataFrame, unit: ScoreUnit) -> str:
    """The slopes of one strategy and side, for every size and control."""
    first, slopes = group.iloc[0], []
    for _, row in group.head(MAX_SLOPES).iterrows():
        interval = format_interval(unit.times * row["slope_low"], unit.times * row["slope_high"], unit.decimals)
        design = f"{row['ladders']:.0f} ladders, p {format_number(row['slope_p_holm'], 2)} (Holm)"
        caveat = f"; {text}" if (text := _length_caveat(row)) else ""
        slopes.append(
            f"{format_signed(unit.times * row['slope'], unit.decimals)} {interval} {row['setting']} ({design}{caveat})"
        )
    more = f" and {len(group) - MAX_SLOPES} more" if len(group) > MAX_SLOPES else ""
    direction = f" ({unit.direction})" if unit.direction else ""
    return f"{first['strategy']} on the {first['side']}, slope in {unit.name}{direction}: {'; '.join(slopes)}{more}."


def _length_caveat(row: pd.Series) -> str:
    """What changes the reading of a slope: length that goes with the level."""
    return "response length goes with the level and may be the cause" if row["collinear_length"] > COLLINEAR else ""


def _noise_sentence(analysis: Analysis, unit: ScoreUnit) -> str:
    """The noise between seeds, and the standard error of one evaluation."""
    noise = analysis.noise.dropna(subset=["seed_sd"])
    if noise.empty:
        return "No level has two runs, so the noise between runs is not known."
    low, high = (format_number(unit.times * value, 2) for value in (noise["seed_sd"].min(), noise["seed_sd"].max()))
    sd = low if low == high else f"{low} to {high}"
    sentence = f"Runs of one series and level have a standard deviation of {sd} {unit.name}"
    error = analysis.noise["score_stderr"].mean()
    if not pd.isna(error):
        sentence += f"; the standard error of one evaluation is about {format_number(unit.times * error, 2)}"
    return f"{sentence}."
