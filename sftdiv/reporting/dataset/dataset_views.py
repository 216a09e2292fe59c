"""The tables of the dataset page: numbers of ``measure.json`` as rows of text, and shares from 0 to 1 for bars.

Nothing here depends on HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sftdiv.diversity.profile.comparison import estimate, half_width
from sftdiv.reporting.dataset.terms import ARROWS, SIDE_NAMES, UNIT_NAMES, depends_on, headline, readable
from sftdiv.reporting.format import (
    MISSING,
    format_count,
    format_large_count,
    format_length,
    format_number,
    format_percent,
    is_missing,
)

Measured = Mapping[str, Any]
Row = dict[str, Any]
ROUNDING = 1e-12  # share of a value below which its interval is the rounding of equal draws


def tiles(measured: Measured) -> list[Row]:
    """The numbers at the top, one value per dataset."""
    datasets = measured["datasets"]

    def tile(title: str, values: Iterable[str], below: str = "") -> Row:
        return {"title": title, "values": list(values), "below": below}

    shown = [
        tile("examples", (format_count(item["counts"]["examples"]) for item in datasets), "distinct"),
        tile("tokens", (format_large_count(item["sides"]["both"]["tokens"]) for item in datasets), "both sides"),
        tile(
            "mean response", (format_length(item["sides"]["response"]["length"]["mean"]) for item in datasets), "tokens"
        ),
        *(
            tile(f"distinct {SIDE_NAMES[side]}", (_distinct(item, side) for item in datasets), "word for word")
            for side in ("instruction", "response")
        ),
    ]
    if datasets[0]["near_duplicates"]:
        for on, below in (("pair", "on both sides"), ("response", "by the response alone")):
            shares = (format_percent(item["near_duplicates"][on]["share"]) for item in datasets)
            shown.append(tile("near duplicates", shares, below))
    return shown


def _distinct(dataset: Measured, side: str) -> str:
    """Share of the texts of a side that remain if every repeated text is kept once."""
    numbers = dataset["sides"][side]
    return format_percent(numbers["distinct"] / numbers["texts"])


def _drawn(dataset: Measured, values: Sequence[float | None], size: int) -> tuple[str, str]:
    """A metric on samples of the common size, and half of its 95 % interval."""
    result = estimate(values, size=size, examples=dataset["counts"]["examples"])
    half = half_width(result.stderr, draws=len(values)) if values else float("nan")
    if is_missing(result.value):
        return MISSING, ""
    half = 0.0 if half < ROUNDING * abs(result.value) else half
    interval = MISSING if is_missing(half) else f"\u00b1 {format_number(half, 2, padded=True)}"
    return _measurement(result.value), interval


def _measurement(value: float | None) -> str:
    return format_number(value, 3, padded=True)


def metrics(measured: Measured, *, every: bool) -> list[Row]:
    """One row per metric of the (first) dataset: on samples of the common size and on all examples, for each side."""
    dataset, catalogue = measured["datasets"][0], measured["catalogue"]
    sides = dataset["sides"]
    names = list(sides["both"]["metrics"])
    rows = []
    for name in names if every else headline(names, catalogue):
        fields = [_drawn(dataset, sides[side]["drawn"].get(name, []), measured["size"]) for side in SIDE_NAMES]
        whole_set = [_measurement(sides[side]["metrics"].get(name)) for side in SIDE_NAMES]
        rows.append({**_named(catalogue[name]), "fields": fields, "whole": whole_set})
    return rows


def _named(metric: Measured) -> Row:
    return {
        "title": metric["title"],
        "arrow": ARROWS[metric["diverse"]],
        "diverse": metric["diverse"],
        "depends": depends_on(metric),
    }


def comparison(measured: Measured, *, every: bool) -> list[Row]:
    """One block per side: dataset, baseline, difference with interval, and which is more diverse."""
    blocks = []
    for side, rows in measured["comparison"].get("sides", {}).items():
        first = headline((row["metric"] for row in rows), measured["catalogue"])
        shown = [_compared(row, measured) for row in rows if every or row["metric"] in first]
        blocks.append({"side": SIDE_NAMES[side], "rows": shown})
    return blocks


def _compared(row: Measured, measured: Measured) -> Row:
    dataset, baseline = measured["datasets"]
    names = {
        "dataset": dataset["name"],
        "baseline": baseline["name"],
        "unclear": "undecided",
    }
    return {
        **_named(measured["catalogue"][row["metric"]]),
        "value": _measurement(row["value"]),
        "baseline": _measurement(row["baseline"]),
        "difference": format_number(row["difference"], 2, padded=True, plus=True),
        "interval": _interval(row["low"], row["high"]),
        "verdict": names.get(row["more_diverse"], MISSING),
        "more_diverse": row["more_diverse"] or "none",
    }


def _interval(low: float | None, high: float | None) -> str:
    if is_missing(low) or is_missing(high):
        return MISSING
    return f"[{format_number(low, 2, padded=True, plus=True)}, {format_number(high, 2, padded=True, plus=True)}]"


def lengths(measured: Measured) -> list[Row]:
    """Percentiles of the length of each side of each dataset."""
    rows = []
    for dataset in measured["datasets"]:
        for side in SIDE_NAMES:
            measured_length = dataset["sides"][side]["length"]
            fields = [
                format_length(measured_length["mean"]),
                *(format_length(value) for value in measured_length["percentiles"].values()),
            ]
            rows.append({"dataset": dataset["name"], "side": SIDE_NAMES[side], "fields": fields})
    return rows


def percentile_names(measured: Measured) -> list[str]:
    """Column headings of ``lengths``."""
    named = {"0": "shortest", "50": "median", "100": "longest"}
    percents = measured["datasets"][0]["sides"]["both"]["length"]["percentiles"]
    return ["mean", *(named.get(percent, f"{percent} %") for percent in percents)]


def units(measured: Measured) -> list[Row]:
    """One row per kind of unit, side and dataset, with the reason if there are no units."""
    rows = []
    for dataset in measured["datasets"]:
        for extracted in dataset["units"]:
            named = {
                "dataset": dataset["name"],
                "kind": UNIT_NAMES.get(extracted["strategy"], extracted["strategy"]),
                "side": extracted["side"],
            }
            if "problem" in extracted:
                rows.append({**named, "problem": extracted["problem"], "fields": []})
                continue
            types, entropy = (
                _drawn(dataset, extracted["drawn"][name], measured["size"]) for name in ("unit_types", "unit_entropy")
            )
            share = extracted["without"] / dataset["counts"]["examples"]
            fields = [
                (format_count(extracted["types"]), " ".join(types)),
                (_measurement(extracted["per_example"]), ""),
                (format_percent(share), ""),
                (_measurement(extracted["entropy"]), " ".join(entropy)),
                (format_count(2 ** extracted["entropy"]), ""),
            ]
            rows.append({**named, "problem": "", "fields": fields, "entropy": entropy})
    return rows


def coverage(measured: Measured) -> list[str]:
    """The shares of one dataset's units that the other contains, in sentences."""
    if not measured["coverage"]:
        return []
    dataset, baseline = (item["name"] for item in measured["datasets"])
    sentences = []
    for row in measured["coverage"]:
        kind = UNIT_NAMES.get(row["strategy"], row["strategy"]).capitalize()
        of_baseline, of_dataset = format_percent(row["of_baseline"]), format_percent(row["of_dataset"])
        sentences.append(
            f"{kind} of the {row['side']}: {dataset} contains {of_baseline} of those of {baseline}, "
            f"and {baseline} {of_dataset} of those of {dataset}."
        )
    return sentences


def most_frequent(measured: Measured, strategy: str) -> list[Row]:
    """Bars of the most frequent types of one kind of unit, one block per dataset and side."""
    blocks = []
    for dataset in measured["datasets"]:
        for extracted in dataset["units"]:
            if extracted["strategy"] == strategy and "commonest" in extracted:
                texts = {topic["name"]: topic.get("examples", []) for topic in extracted["record"].get("topics", [])}
                blocks.append(
                    {**block_name(dataset, extracted["side"]), "bars": bars_of(extracted["commonest"], dataset, texts)}
                )
    return blocks


def bars_of(types: Sequence[Measured], dataset: Measured, texts: Mapping[str, Sequence[str]]) -> list[Row]:
    """Bars proportional to the frequency of the types; the most frequent one has full width."""
    most, examples = max([item["examples"] for item in types], default=1), dataset["counts"]["examples"]
    return [
        {
            "name": readable([item["name"]]),
            "count": format_count(item["examples"]),
            "share": format_percent(item["examples"] / examples),
            "bar": item["examples"] / most,
            "examples": list(texts.get(item["name"], [])),
        }
        for item in types
    ]


def block_name(dataset: Measured, side: str) -> Row:
    """Name of a block: the dataset and the side."""
    return {"dataset": dataset["name"], "side": SIDE_NAMES[side]}
