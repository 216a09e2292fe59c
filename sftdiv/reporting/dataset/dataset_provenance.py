"""Where the numbers of a page come from: rows read and left out, sources, settings and versions, as rows of text."""

from __future__ import annotations

from sftdiv.reporting.dataset.dataset_views import Measured, Row, bars_of
from sftdiv.reporting.format import format_count


def sources(measured: Measured) -> list[Row]:
    """Bars of the sources of each dataset that names several."""
    blocks = []
    for dataset in measured["datasets"]:
        counts = dataset["sources"]
        if len(counts) > 1:
            bars = [{"name": name, "examples": count} for name, count in list(counts.items())[:40]]
            blocks.append(
                {"dataset": dataset["name"], "bars": bars_of(bars, dataset, {}), "more": max(len(counts) - 40, 0)}
            )
    return blocks


def counts(measured: Measured) -> list[tuple[str, list[str]]]:
    """What was read and left out, a row a count, a value a dataset."""
    names = list(
        dict.fromkeys(name for dataset in measured["datasets"] for name in dataset["counts"] if name != "heldout")
    )
    told = {
        "read": "rows read",
        "rejected": "rejected",
        "duplicates": "exact duplicates",
        "groups": "distinct instructions, normalised",
    }
    return [
        (
            told.get(name, name.replace("_", " ").replace("rejected.", "rejected: ")),
            [format_count(each["counts"].get(name, 0)) for each in measured["datasets"]],
        )
        for name in names
    ]


def facts(measured: Measured) -> list[tuple[str, str]]:
    """How the numbers were made."""
    settings = measured["settings"]
    paths = [
        str(path)
        for path in (settings["corpus"].get("path", "embedded world"), settings["baseline"])
        if path is not None
    ]
    embedder = settings["embedder"].get("path") or settings["embedder"].get("_target_", "none").rpartition(".")[2]
    return [
        ("data", " and ".join(paths)),
        ("tokenizer", measured["tokenizer"]),
        ("embedder", embedder),
        ("samples", f"{measured['draws']} of {format_count(measured['size'])} examples, without replacement"),
        ("homogenisation", f"of the first {settings['pair_tokens']} tokens of each text"),
        ("versions", ", ".join(f"{name} {version}" for name, version in measured["versions"].items())),
    ]
