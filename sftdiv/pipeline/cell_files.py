"""Files of a cell beside its row and model: generations, the tag map, rejected rows and the subset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sftdiv.config.spec import RunSpec
from sftdiv.data.bad_rows import REJECTED, NoExampleError
from sftdiv.data.build_corpus import rejected_file
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.records import Corpus, Selection, Units
from sftdiv.storage.files import write_atomically
from sftdiv.units.tagging.tag_map import save_tag_map


def write_samples(spec: RunSpec, artifacts: RunArtifacts, cell: Path) -> None:
    """Generate responses to some held-out instructions, spread over the sources, into ``samples.jsonl``."""
    from sftdiv.modeling.generate import generate

    table = artifacts.data.corpus.table
    heldout = table.filter(lambda heldout: heldout, input_columns="heldout", keep_in_memory=True)
    by_source = np.argsort(np.array(heldout["source"][:], dtype=object), kind="stable")
    spread = np.linspace(0, len(heldout) - 1, min(spec.samples, len(heldout))).astype(int)
    shown = heldout.select(by_source[spread])
    max_length = spec.model.max_length
    answers = generate(
        cell / "model",
        [messages[:-1] for messages in shown["messages"]],
        max_new_tokens=max_length // 2,
        max_length=max_length,
        device=artifacts.trainer.device,
    )
    names = ("id", "source", "instruction", "reference", "response")
    columns = zip(shown["id"], shown["source"], shown["instruction"], shown["response"], answers, strict=True)
    lines = [json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) for values in columns]
    write_atomically(cell / "samples.jsonl", "".join(f"{line}\n" for line in lines))


def write_tag_map(units: Units, cell: Path) -> None:
    """Write the map from raw to final tags, to be edited and reused as ``strategy.units.tag_map``."""
    if "tag_map" in units.record:
        save_tag_map(units.record["tag_map"], units.record["tag_counts"], cell / "tag_map.csv")


def read_corpus(artifacts: RunArtifacts, cell: Path) -> Corpus:
    """The corpus of a run; where all of its rows are rejected, they are copied into the cell.

    Raises:
        SftdivError: The corpus cannot be read or has no example.
    """
    try:
        return artifacts.data.corpus
    except NoExampleError as error:
        if error.rejected is not None:
            write_atomically(cell / REJECTED, error.rejected.read_bytes())
        raise


def copy_rejected(corpus: Corpus, cell: Path) -> None:
    """Copy the rejected rows of a corpus, if any, into the cell."""
    path = rejected_file(corpus)
    if path is not None and corpus.counts["rejected"]:
        write_atomically(cell / path.name, path.read_text(encoding="utf-8"))


def write_subset(selection: Selection, artifacts: RunArtifacts, path: Path) -> None:
    """Write the selected examples in the order drawn, as Parquet, atomically."""
    temporary = path.with_name(f".{path.name}")
    artifacts.data.corpus.table.select(selection.indices).to_parquet(str(temporary))
    temporary.replace(path)
