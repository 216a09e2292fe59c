"""The tables of repeated phrases and near duplicates of the dataset page, as rows of text."""

from __future__ import annotations

from sftdiv.diversity.profile.texts import cut
from sftdiv.reporting.dataset.dataset_views import Measured, Row, block_name
from sftdiv.reporting.dataset.terms import readable
from sftdiv.reporting.format import format_count, format_percent

MAX_CHARACTERS = 320  # of a repeated phrase


def repeated(measured: Measured) -> list[Row]:
    """The repeated phrases, one block per dataset and side."""
    blocks = []
    for dataset in measured["datasets"]:
        for side in ("instruction", "response"):
            repeats = dataset["sides"][side]["repeated"]
            searched = repeats["texts"]
            rows = [
                {
                    "text": cut(readable(run["tokens"]), MAX_CHARACTERS),
                    "length": format_count(len(run["tokens"])),
                    "texts": format_count(run["texts"]),
                    "share": format_percent(run["texts"] / searched),
                    "occurrences": format_count(run["occurrences"]),
                }
                for run in repeats["runs"]
            ]
            min_texts = format_count(repeats["min_texts"])
            sampled = searched < dataset["sides"][side]["distinct"]
            among = f"{format_count(searched)} {'distinct texts drawn at random' if sampled else 'distinct texts'}"
            blocks.append({**block_name(dataset, side), "rows": rows, "among": among, "min_texts": min_texts})
    return blocks


def near_duplicates(measured: Measured) -> list[Row]:
    """Counts of near duplicates, by the sides compared."""
    titles = {"pair": "instruction and response", "instruction": "instruction", "response": "response"}
    rows = []
    for dataset in measured["datasets"]:
        for on, duplicates in dataset["near_duplicates"].items():
            fields = [
                format_percent(duplicates["share"]),
                format_count(duplicates["dropped"]),
                format_count(duplicates["groups"]),
                format_count(duplicates["largest"]),
            ]
            rows.append(
                {"dataset": dataset["name"], "on": titles[on], "fields": fields, "examples": duplicates["examples"]}
            )
    return rows
