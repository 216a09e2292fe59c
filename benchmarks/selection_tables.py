"""The results of `benchmarks/selection.py` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def readme(results: dict[str, Any]) -> str:
    """The whole page, without parts that were not measured."""
    parts = [
        part(results[name])
        for name, part in (("grid", grid), ("same", same), ("scale", scale), ("peers", peers))
        if name in results
    ]
    return (
        "\n\n".join(
            [
                "# Selection: cost and sameness",
                "One command: `python benchmarks/selection.py ../shared/data/pool-117k.parquet`.",
                *parts,
            ]
        )
        + "\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def measured(part: dict[str, Any]) -> str:
    """Time, machine and load of a measurement."""
    return f"Measured {part['date']} on {part['machine']}, load {part['load_before']:.1f} before."


def grid(part: dict[str, Any]) -> str:
    """Ladders and seven draws of each strategy, side and match."""
    names = ("read", "universe", "ladder", "draws")
    rows = [
        [
            *(row[name] for name in ("strategy", "side", "match")),
            *(f"{row[name]:,}" for name in ("examples", "types", "nonzeros")),
            *(seconds(row, name) for name in names),
        ]
        for row in part["rows"]
    ]
    time = f"{part['total.wall']:.1f} s ({part['total.processor']:.1f} s of processor)"
    total = f"{time}, {part['peak_gib']:.2f} GiB at the peak"
    text = (
        "## Seven levels, three granularities, two sides, unmatched and length-matched\n\n"
        f"10,000 examples each; in all {total}.\n"
        "Seconds of wall time and, in brackets, of the processor: reading the units from the cache with its checksums\n"
        "(once for both matches), the universe, the ladder, seven draws. Not included: starting Python, mapping\n"
        "the corpus, splitting its responses into words, compiling. Topics: 200 by k-means of LSA embeddings,\n"
        f"one per example. {measured(part)}"
    )
    return (
        text
        + "\n\n"
        + table(["strategy", "side", "match", "examples", "types", "non-zeros", *(f"{name} s" for name in names)], rows)
    )


def same(part: dict[str, Any]) -> str:
    """Equality of results over threads and the order of the file."""
    runs, chosen = ", ".join(part["runs"]), ", ".join(part["chosen"])
    return (
        f"## One result\n\n{runs}:\nequal fingerprint of the corpus (`{part['fingerprint']}`) and equal ids, in\n"
        f"order, at {chosen};\n"
        f"corpus, units (`strategy.tokenizer=words`) and selection made anew each time; asserted. {measured(part)}"
    )


def scale(part: dict[str, Any]) -> str:
    """Cost against the size of the corpus."""
    rows = [
        [
            *(f"{row[name]:,}" for name in ("rows", "nonzeros", "types", "size")),
            *(seconds(row, name) for name in ("ladder", "draws")),
        ]
        for row in part["rows"]
    ]
    powers = [
        ", ".join(f"{name} {value:.2f}" for name, value in part[key].items())
        for key in ("exponent_from_pool", "exponent")
    ]
    text = (
        "## Cost against the size of the corpus\n\n"
        "Micro units of the responses of the pool ten times over (in each further copy, 5 % of the tokens are\n"
        "replaced), the first rows; band per million tokens, a twelfth of the rows selected, seven levels. Time is\n"
        f"proportional to the non-zeros to the power {powers[0]} from the pool's own size on, and\n"
        f"{powers[1]} over all sizes, where constant costs weigh more\n"
        f"(least squares of logs, processor seconds); {part['peak_gib']:.1f} GiB at the peak. {measured(part)}"
    )
    return text + "\n\n" + table(["rows", "non-zeros", "types", "subset", "ladder s", "seven draws s"], rows)


def peers(part: dict[str, Any]) -> str:
    """The cost of apricot's greedy selections beside ours."""
    rows = []
    for number, ours in enumerate(part["ours"]["rows"]):
        runs = [part[kind][number] if number < len(part[kind]) else None for kind in ("feature", "facility")]
        rows.append([f"{ours['rows']:,}", f"{ours['size']:,}", seconds(ours, "both"), *map(peer, runs)])
    text = (
        "## Beside apricot\n\n"
        "Seconds of one subset (ours: ladder and draw at level 1) from the first rows of the micro units of\n"
        "responses. Apricot 0.6.1, lazy greedy: FeatureBasedSelection (square root) on the same sparse units,\n"
        "FacilityLocationSelection (cosine) on LSA embeddings, which it needs dense; at most 300 s of processor time\n"
        "and 8 GiB per run. Each maximises another function, so this compares cost, not quality.\n"
        f"Ours reads the whole corpus: {part['ours']['peak_gib']:.1f} GiB. {measured(part)}"
    )
    return (
        text
        + "\n\n"
        + table(["rows", "subset", "ours s", "apricot, feature-based s", "apricot, facility location s"], rows)
    )


def peer(run: dict[str, Any] | None) -> str:
    """One run of a peer, or the reason why it failed."""
    if run is None:
        return ""
    return (
        run["failed"] if "failed" in run else f"{run['wall']:.1f} ({run['processor']:.1f}), {run['peak_gib']:.1f} GiB"
    )


def seconds(row: dict[str, Any], name: str) -> str:
    """Wall and, in brackets, processor seconds of one part."""
    return f"{row[f'{name}.wall']:.2f} ({row[f'{name}.processor']:.2f})"
