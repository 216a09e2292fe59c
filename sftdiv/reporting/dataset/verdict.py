"""What the numbers say, in sentences: the part of a report that is read when nothing else is.

In: what was measured. Out: sentences for the page and the terminal. The trade: a dataset alone gets
no grade, for no metric has an absolute scale; what is said of it are duplicates, concentration and
lengths. Beside a baseline, metrics are counted, and every count names the sample size that it holds
for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sftdiv.reporting.dataset.terms import SIDE_NAMES, headline
from sftdiv.reporting.format import format_count, format_large_count, format_number, format_percent

LONGER = 1.2  # times, from which lengths differ enough to be said
FEW = 200  # examples, below which most metrics say little
Measured = Mapping[str, Any]


def sentences(measured: Measured) -> list[str]:
    """The verdict: on the dataset beside its baseline, then on the dataset itself."""
    return [*_compared(measured), *_contents(measured["datasets"][0])]


def _contents(dataset: Measured) -> list[str]:
    counts, sides, near = dataset["counts"], dataset["sides"], dataset["near_duplicates"]
    tokens = sum(sides[side]["tokens"] for side in ("instruction", "response"))
    sources = len(dataset["sources"])
    named = f" from {sources} sources" if sources > 1 else ""
    said = [
        f"{dataset['name']} holds {format_count(counts['examples'])} examples{named} and {format_large_count(tokens)} tokens, "
        f"{format_percent(sides['response']['tokens'] / max(tokens, 1))} of them in responses."
    ]
    if counts.get("duplicates"):
        share = counts["duplicates"] / counts["read"]
        said.append(
            f"{format_percent(share)} of the rows read were exact duplicates of another row and were left out before measuring."
        )
    repeated = 1 - sides["instruction"]["distinct"] / sides["instruction"]["texts"]
    if repeated > 0:
        said.append(f"{format_percent(repeated)} of the examples repeat the instruction of another one word for word.")
    if near:
        pairs = near["pair"]
        said.append(
            f"{format_percent(pairs['share'])} of the examples are near duplicates of another on both sides "
            f"({format_percent(near['instruction']['share'])} by the instruction alone, {format_percent(near['response']['share'])} by the response), "
            "not counting one of each group."
        )
    if counts.get("rejected"):
        said.append(
            f"{format_count(counts['rejected'])} of {format_count(counts['read'])} rows could not be read; rejected.jsonl says why."
        )
    return said


def _compared(measured: Measured) -> list[str]:
    if not measured["comparison"]:
        return []
    one, other = measured["datasets"]
    said = []
    for side, rows in measured["comparison"]["sides"].items():
        first = headline((row["metric"] for row in rows), measured["catalogue"])
        found = Counter(row["more_diverse"] for row in rows if row["metric"] in first and row["more_diverse"])
        said.append(f"{SIDE_NAMES[side].capitalize()}: {_balance(found, one['name'], other['name'])}.")
    said[0] = said[0].removesuffix(".") + f" (random samples of {format_count(measured['size'])} examples)."
    return said + _lengths(one, other)


def _balance(found: Mapping[str, int], one: str, other: str) -> str:
    more, less, unclear, asked = (
        found.get("dataset", 0),
        found.get("baseline", 0),
        found.get("unclear", 0),
        sum(found.values()),
    )
    cannot = f", {unclear} cannot tell" if unclear else ""
    if 2 * max(more, less) <= asked:
        return f"the metrics do not agree: {one} is more diverse by {more} of {asked}, {other} by {less}{cannot}"
    ahead, count, against = (one, more, less) if more > less else (other, less, more)
    return (
        f"{ahead} is more diverse by {count} of {asked} metrics" + (f", less by {against}" if against else "") + cannot
    )


def _lengths(one: Measured, other: Measured) -> list[str]:
    said = []
    for side in ("instruction", "response"):
        mine, theirs = (each["sides"][side]["length"]["mean"] for each in (one, other))
        if max(mine, theirs) >= LONGER * min(mine, theirs):
            longer, times = (one["name"], mine / theirs) if mine > theirs else (other["name"], theirs / mine)
            said.append(
                f"The {SIDE_NAMES[side]} of {longer} are {format_number(times, 2, padded=True)} times as long, which alone moves the metrics marked L."
            )
    return said


def cautions(measured: Measured) -> list[str]:
    """What keeps a number from meaning what it seems to mean."""
    examples = [dataset["counts"]["examples"] for dataset in measured["datasets"]]
    said = [
        f"Metrics marked N move with the number of texts: across datasets compare the values of samples of {format_count(measured['size'])} "
        "examples, and only with samples of that size.",
        "Metrics marked L move with the length of the texts: a dataset of long texts beside one of short texts differs in them for that "
        "reason alone.",
        f"Tokens are those of the tokenizer {measured['tokenizer']}; numbers made with another one do not compare.",
    ]
    if min(examples) < FEW:
        said.append(f"With {format_count(min(examples))} examples most metrics say little.")
    if measured["comparison"]:
        said.append(
            "Intervals take examples as drawn independently of each other and the two datasets as independent: where one holds the other, "
            "or many rows are variants of one, they are not to be trusted. One interval in twenty leaves out 0 by chance."
        )
    else:
        said.append("No metric has an absolute scale: baseline=OTHER sets a second dataset beside this one.")
    return said
