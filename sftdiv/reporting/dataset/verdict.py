"""The verdict of a dataset report, in sentences for the page and the terminal.

A single dataset gets no grade, because no metric has an absolute scale. The sentences describe its
duplicates, concentration and lengths. Against a baseline, the metrics that favour each dataset are
counted, together with the sample size at which they were computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sftdiv.reporting.dataset.terms import SIDE_NAMES, UNIT_NAMES, headline
from sftdiv.reporting.format import format_count, format_large_count, format_number, format_percent

LENGTH_RATIO = 1.2  # smallest ratio of mean lengths that is mentioned
MIN_EXAMPLES = 200  # with fewer, most metrics are unreliable
SHOWN_CHARACTERS = 100  # of an item of a benchmark
Measured = Mapping[str, Any]


def sentences(measured: Measured) -> list[str]:
    """The verdict: the comparison with the baseline, if any, then the dataset itself."""
    return [*_comparison(measured), *_contents(measured["datasets"][0])]


def _contents(dataset: Measured) -> list[str]:
    """Size, duplicates, near duplicates and rejected rows of a dataset."""
    counts, sides, near = dataset["counts"], dataset["sides"], dataset["near_duplicates"]
    tokens = sum(sides[side]["tokens"] for side in ("instruction", "response"))
    sources = f" from {len(dataset['sources'])} sources" if len(dataset["sources"]) > 1 else ""
    share = format_percent(sides["response"]["tokens"] / max(tokens, 1))
    lines = [
        f"{dataset['name']} has {format_count(counts['examples'])} examples{sources} and "
        f"{format_large_count(tokens)} tokens, {share} of them in responses."
    ]
    if counts.get("duplicates"):
        share = format_percent(counts["duplicates"] / counts["read"])
        lines.append(
            f"{share} of the rows read were exact duplicates of another row and were removed before measuring."
        )
    lines += [line for side in ("instruction", "response") if (line := _repeats(sides[side], side))]
    if near:
        pair, instruction, response = (format_percent(near[on]["share"]) for on in ("pair", "instruction", "response"))
        lines.append(
            f"{pair} of the examples are near duplicates of another on both sides ({instruction} by the instruction "
            f"alone, {response} by the response), not counting one of each group."
        )
    lines += _contamination(dataset)
    if counts.get("rejected"):
        rejected, read = format_count(counts["rejected"]), format_count(counts["read"])
        lines.append(f"{rejected} of {read} rows could not be read; the reasons are in rejected.jsonl.")
    return lines


def _repeats(numbers: Measured, side: str) -> str:
    """Exact repeats of one side: the share of examples whose text another one has too, and the distinct texts."""
    if numbers["distinct"] == numbers["texts"]:
        return ""
    share, distinct = numbers["sharing"] / numbers["texts"], numbers["distinct"] / numbers["texts"]
    return (
        f"{format_percent(share)} of the examples have the {side} of another one word for word: "
        f"{format_count(numbers['distinct'])} of {format_count(numbers['texts'])} {SIDE_NAMES[side]} are distinct "
        f"({format_percent(distinct)})."
    )


def limits(measured: Measured) -> list[str]:
    """What the size of the data forbids: too few examples, and units that could not be extracted."""
    examples = min(dataset["counts"]["examples"] for dataset in measured["datasets"])
    lines = [f"With {format_count(examples)} examples most metrics are unreliable."] if examples < MIN_EXAMPLES else []
    for dataset in measured["datasets"]:
        for units in dataset["units"]:
            if "problem" in units:
                kind = UNIT_NAMES.get(units["strategy"], units["strategy"])
                lines.append(f"No {kind} of the {units['side']} in {dataset['name']}: {units['problem']}")
    return lines


def _contamination(dataset: Measured) -> list[str]:
    """What shares text with the items of benchmarks (``corpus.decontaminate``), with some of the pairs."""
    lines = []
    for name, found in dataset.get("contamination", {}).items():
        sources = ", ".join(f"{source} {format_count(count)}" for source, count in found["by_source"].items())
        lines.append(
            f"{format_count(found['examples'])} examples share text with {format_count(found['touched'])} of "
            f"{format_count(found['items'])} items of {name}{f' ({sources})' if sources else ''}; "
            "paraphrases are not found."
        )
        for pair in found["shown"]:
            where = f"{pair['id']} ({pair['source'] or 'unnamed'})"
            lines.append(
                f"{name}, item {pair['item']}, \N{LEFT DOUBLE QUOTATION MARK}{_cut(pair['item_text'])}"
                f"\N{RIGHT DOUBLE QUOTATION MARK}, is in {where}."
            )
    return lines


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else flat[: SHOWN_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _comparison(measured: Measured) -> list[str]:
    """For each side which dataset is more diverse, then differences in length; empty without a baseline."""
    if not measured["comparison"]:
        return []
    dataset, baseline = measured["datasets"]
    lines = []
    for side, rows in measured["comparison"]["sides"].items():
        shown = headline((row["metric"] for row in rows), measured["catalogue"])
        counts = Counter(row["more_diverse"] for row in rows if row["metric"] in shown and row["more_diverse"])
        lines.append(f"{SIDE_NAMES[side].capitalize()}: {_balance(counts, dataset['name'], baseline['name'])}.")
    lines[0] = lines[0].removesuffix(".") + f" (random samples of {format_count(measured['size'])} examples)."
    return lines + _lengths(dataset, baseline)


def _balance(counts: Mapping[str, int], dataset: str, baseline: str) -> str:
    """Which dataset the metrics favour.

    Args:
        counts: Number of metrics by which ``dataset`` or ``baseline`` is more diverse, or ``unclear``.
        dataset: Name of the dataset.
        baseline: Name of the baseline.
    """
    more, less, unclear = (counts.get(name, 0) for name in ("dataset", "baseline", "unclear"))
    total = sum(counts.values())
    undecided = f", {unclear} are undecided" if unclear else ""
    if 2 * max(more, less) <= total:
        return f"the metrics disagree: {dataset} is more diverse by {more} of {total}, {baseline} by {less}{undecided}"
    winner, wins, losses = (dataset, more, less) if more > less else (baseline, less, more)
    against = f", less by {losses}" if losses else ""
    return f"{winner} is more diverse by {wins} of {total} metrics{against}{undecided}"


def _lengths(dataset: Measured, baseline: Measured) -> list[str]:
    """The sides on which one dataset is clearly longer."""
    lines = []
    for side in ("instruction", "response"):
        mean, baseline_mean = (measured["sides"][side]["length"]["mean"] for measured in (dataset, baseline))
        low, high = sorted((mean, baseline_mean))
        if high >= LENGTH_RATIO * low:
            longer = dataset["name"] if mean > baseline_mean else baseline["name"]
            ratio = format_number(high / low, 2, padded=True)
            lines.append(
                f"The {SIDE_NAMES[side]} of {longer} are {ratio} times as long, "
                "which alone changes the metrics marked L."
            )
    return lines


def cautions(measured: Measured) -> list[str]:
    """Reasons why a number may not mean what it seems to mean."""
    size = format_count(measured["size"])
    lines = [
        f"Metrics marked N depend on the number of texts: across datasets compare only the values of samples of {size} "
        "examples, and only with samples of that size.",
        "Metrics marked L depend on the length of the texts: datasets of long and of short texts differ in them for "
        "that reason alone.",
        "Metrics marked T are measured in each text by itself: they do not see that texts repeat each other, and "
        "decide no comparison.",
        f"Tokens are those of the tokenizer {measured['tokenizer']}; numbers of other tokenizers are not comparable.",
    ]
    lines += limits(measured)
    if measured["comparison"]:
        lines.append(
            "Intervals assume that examples are drawn independently and that the datasets are independent. They do not "
            "hold if one dataset contains the other, or if many rows are variants of one. One interval in twenty "
            "excludes 0 by chance."
        )
    else:
        lines.append("No metric has an absolute scale: baseline=OTHER adds a second dataset to compare with.")
    return lines
