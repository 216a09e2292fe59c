"""The provenance of a page's numbers: rows read and left out, sources, settings and versions, as rows of text."""

from __future__ import annotations

from sftdiv.reporting.dataset.dataset_views import Measured, Row, bars_of
from sftdiv.reporting.format import format_count

MAX_SOURCES = 40
COUNTS = {
    "read": "rows read",
    "rejected": "rejected",
    "duplicates": "exact duplicates",
    "groups": "distinct instructions, normalised",
}


def sources(measured: Measured) -> list[Row]:
    """Bars of the sources of each dataset that has several."""
    blocks = []
    for dataset in measured["datasets"]:
        counts = dataset["sources"]
        if len(counts) > 1:
            bars = [{"name": name, "examples": count} for name, count in list(counts.items())[:MAX_SOURCES]]
            blocks.append(
                {
                    "dataset": dataset["name"],
                    "bars": bars_of(bars, dataset, {}),
                    "more": max(len(counts) - MAX_SOURCES, 0),
                }
            )
    return blocks


def first_examples(measured: Measured) -> list[Row]:
    """The first examples of each dataset; none in a report of an earlier version."""
    datasets = [(dataset["name"], dataset.get("first_examples", [])) for dataset in measured["datasets"]]
    return [{"dataset": name, "examples": examples} for name, examples in datasets if examples]


def counts(measured: Measured) -> list[tuple[str, list[str]]]:
    """Numbers of rows read and left out: the name of each count, and its value in each dataset."""
    datasets = measured["datasets"]
    rows = []
    for name in dict.fromkeys(name for dataset in datasets for name in dataset["counts"]):
        if name != "heldout":
            title = COUNTS.get(name, name.replace("_", " ").replace("rejected.", "rejected: "))
            rows.append((title, [format_count(dataset["counts"].get(name, 0)) for dataset in datasets]))
    return rows


def facts(measured: Measured) -> list[tuple[str, str]]:
    """Data, tokenizer, embedder, sampling and versions."""
    settings = measured["settings"]
    paths = [settings["corpus"].get("path", "synthetic corpus"), settings["baseline"]]
    embedder = settings["embedder"].get("path") or settings["embedder"].get("_target_", "none").rpartition(".")[2]
    return [
        ("data", " and ".join(str(path) for path in paths if path is not None)),
        ("tokenizer", measured["tokenizer"]),
        ("embedder", embedder),
        ("samples", f"{measured['draws']} of {format_count(measured['size'])} examples, without replacement"),
        ("homogenisation", f"of the first {settings['pair_tokens']} tokens of each text"),
        ("versions", ", ".join(f"{name} {version}" for name, version in measured["versions"].items())),
    ]
