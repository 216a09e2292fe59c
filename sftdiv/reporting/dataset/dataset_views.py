"""What stands in each table of the page: numbers of ``measure.json`` as rows of text.

In: what was measured. Out: mappings of strings, and shares between 0 and 1 for bars; nothing here
knows HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sftdiv.diversity.profile.comparison import estimate, half_width
from sftdiv.diversity.profile.texts import cut
from sftdiv.reporting.dataset.terms import ARROWS, SIDE_NAMES, UNIT_NAMES, headline, moves_with, readable
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
SHOWN = 320  # characters of a repeated run


def tiles(measured: Measured) -> list[Row]:
    """The numbers at the top, one value a dataset."""
    datasets = measured["datasets"]

    def tile(title: str, values: Iterable[str], below: str = "") -> Row:
        return {"title": title, "values": list(values), "below": below}

    shown = [
        tile("examples", (format_count(each["counts"]["examples"]) for each in datasets), "distinct"),
        tile("tokens", (format_large_count(each["sides"]["both"]["tokens"]) for each in datasets), "both sides"),
        tile(
            "mean response", (format_length(each["sides"]["response"]["length"]["mean"]) for each in datasets), "tokens"
        ),
        tile("repeated instructions", (format_percent(_repeated(each)) for each in datasets), "word for word"),
    ]
    if datasets[0]["near_duplicates"]:
        shown.append(
            tile(
                "near duplicates",
                (format_percent(each["near_duplicates"]["pair"]["share"]) for each in datasets),
                "on both sides",
            )
        )
    return shown


def _repeated(dataset: Measured) -> float:
    side = dataset["sides"]["instruction"]
    return float(1 - side["distinct"] / side["texts"])


def _drawn(dataset: Measured, values: Sequence[float | None], size: int) -> tuple[str, str]:
    """A metric on samples of the common size, and half of its 95 % interval."""
    found = estimate(values, size=size, examples=dataset["counts"]["examples"])
    half = half_width(found.stderr, draws=len(values)) if values else float("nan")
    return format_number(
        found.value, 3, padded=True
    ), MISSING if half != half else f"\u00b1 {format_number(half, 2, padded=True)}"


def metrics(measured: Measured, *, every: bool) -> list[Row]:
    """A row a metric: on samples of the common size, and on everything, for each side of the (first) dataset."""
    dataset, catalogue = measured["datasets"][0], measured["catalogue"]
    sides = dataset["sides"]
    names = list(sides["both"]["metrics"])
    rows = []
    for name in names if every else headline(names, catalogue):
        fields = [_drawn(dataset, sides[side]["drawn"].get(name, []), measured["size"]) for side in SIDE_NAMES]
        whole_set = [format_number(sides[side]["metrics"].get(name), 3, padded=True) for side in SIDE_NAMES]
        rows.append({**_named(catalogue[name]), "fields": fields, "whole": whole_set})
    return rows


def _named(metric: Measured) -> Row:
    return {
        "title": metric["title"],
        "arrow": ARROWS[metric["diverse"]],
        "diverse": metric["diverse"],
        "moves": moves_with(metric),
    }


def comparison(measured: Measured, *, every: bool) -> list[Row]:
    """A block a side: dataset, baseline, difference with its interval, and which of the two is more diverse."""
    blocks = []
    for side, rows in measured["comparison"].get("sides", {}).items():
        first = headline((row["metric"] for row in rows), measured["catalogue"])
        shown = [_compared(row, measured) for row in rows if every or row["metric"] in first]
        blocks.append({"side": SIDE_NAMES[side], "rows": shown})
    return blocks


def _compared(row: Measured, measured: Measured) -> Row:
    names = {
        "dataset": measured["datasets"][0]["name"],
        "baseline": measured["datasets"][1]["name"],
        "unclear": "cannot tell",
    }
    return {
        **_named(measured["catalogue"][row["metric"]]),
        "value": format_number(row["value"], 3, padded=True),
        "baseline": format_number(row["baseline"], 3, padded=True),
        "difference": format_number(row["difference"], 2, padded=True, plus=True),
        "interval": _interval(row["low"], row["high"]),
        "verdict": names.get(row["more_diverse"], MISSING),
        "who": row["more_diverse"] or "none",
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
    """Headings of ``lengths``."""
    named = {"0": "shortest", "50": "median", "100": "longest"}
    percents = measured["datasets"][0]["sides"]["both"]["length"]["percentiles"]
    return ["mean", *(named.get(percent, f"{percent} %") for percent in percents)]


def units(measured: Measured) -> list[Row]:
    """A row for each kind of unit, side and dataset, or the reason why there is none."""
    rows = []
    for dataset in measured["datasets"]:
        for found in dataset["units"]:
            named = {
                "dataset": dataset["name"],
                "kind": UNIT_NAMES.get(found["strategy"], found["strategy"]),
                "side": found["side"],
            }
            if "problem" in found:
                rows.append({**named, "problem": found["problem"], "fields": []})
                continue
            types, entropy = (
                _drawn(dataset, found["drawn"][name], measured["size"]) for name in ("unit_types", "unit_entropy")
            )
            share = found["without"] / dataset["counts"]["examples"]
            fields = [
                (format_count(found["types"]), " ".join(types)),
                (format_number(found["per_example"], 3, padded=True), ""),
                (format_percent(share), ""),
                (format_number(found["entropy"], 3, padded=True), " ".join(entropy)),
                (format_count(2 ** found["entropy"]), ""),
            ]
            rows.append({**named, "problem": "", "fields": fields, "entropy": entropy})
    return rows


def coverage(measured: Measured) -> list[str]:
    """What one dataset holds of the other's units, in sentences."""
    if not measured["coverage"]:
        return []
    one, other = (dataset["name"] for dataset in measured["datasets"])
    return [
        f"{UNIT_NAMES.get(row['strategy'], row['strategy']).capitalize()} of the {row['side']}: {one} holds {format_percent(row['of_baseline'])} "
        f"of those of {other}, and {other} {format_percent(row['of_dataset'])} of those of {one}."
        for row in measured["coverage"]
    ]


def commonest(measured: Measured, strategy: str) -> list[Row]:
    """Bars of the commonest types of one kind of unit, a block a dataset and side."""
    blocks = []
    for dataset in measured["datasets"]:
        for found in dataset["units"]:
            if found["strategy"] == strategy and "commonest" in found:
                told = {topic["name"]: topic.get("examples", []) for topic in found["record"].get("topics", [])}
                blocks.append(
                    {**_named_block(dataset, found["side"]), "bars": bars_of(found["commonest"], dataset, told)}
                )
    return blocks


def bars_of(types: Sequence[Measured], dataset: Measured, told: Mapping[str, Sequence[str]]) -> list[Row]:
    """Bars as long as the types are common, the commonest as wide as there is room."""
    most, examples = max([one["examples"] for one in types], default=1), dataset["counts"]["examples"]
    return [
        {
            "name": readable([one["name"]]),
            "count": format_count(one["examples"]),
            "share": format_percent(one["examples"] / examples),
            "bar": one["examples"] / most,
            "told": list(told.get(one["name"], [])),
        }
        for one in types
    ]


def _named_block(dataset: Measured, side: str) -> Row:
    return {"dataset": dataset["name"], "side": SIDE_NAMES[side]}


def repeated(measured: Measured) -> list[Row]:
    """The repeated runs of tokens, a block a dataset and side."""
    blocks = []
    for dataset in measured["datasets"]:
        for side in ("instruction", "response"):
            found = dataset["sides"][side]
            looked_at = found["repeated"]["texts"]
            rows = [
                {
                    "text": cut(readable(run["tokens"]), SHOWN),
                    "length": format_count(len(run["tokens"])),
                    "texts": format_count(run["texts"]),
                    "share": format_percent(run["texts"] / looked_at),
                    "occurrences": format_count(run["occurrences"]),
                }
                for run in found["repeated"]["runs"]
            ]
            drawn = looked_at < found["distinct"]
            among = f"{format_count(looked_at)} {'distinct texts drawn at random' if drawn else 'distinct texts'}"
            few = format_count(found["repeated"]["min_texts"])
            blocks.append({**_named_block(dataset, side), "rows": rows, "among": among, "few": few})
    return blocks


def near_duplicates(measured: Measured) -> list[Row]:
    """Counts of near duplicates, by what is compared."""
    titles = {"pair": "instruction and response", "instruction": "instruction", "response": "response"}
    rows = []
    for dataset in measured["datasets"]:
        for on, found in dataset["near_duplicates"].items():
            fields = [
                format_percent(found["share"]),
                format_count(found["dropped"]),
                format_count(found["groups"]),
                format_count(found["largest"]),
            ]
            rows.append({"dataset": dataset["name"], "on": titles[on], "fields": fields, "examples": found["examples"]})
    return rows
