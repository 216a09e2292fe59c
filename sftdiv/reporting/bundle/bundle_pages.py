"""The pages of the bundle beside the report: one per cell, and one with the answers of all cells beside each other.

The input are the contents of cells; the output is HTML text. Like the report, the pages make no request, and run no
script but their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.reporting.bundle.bundle_contents import (
    ANSWERS,
    CellContents,
    facts,
    metrics,
    page_of,
    scores,
    shortened,
    sources,
)
from sftdiv.reporting.html import render_html, script_hash

HERE = Path(__file__).parent


def render_cell(
    cell: CellContents,
    *,
    study: str,
    row_file: str,
    untrained: Mapping[str, str],
    before: str | None = None,
    after: str | None = None,
) -> str:
    """Render the page of a cell.

    Args:
        cell: The cell.
        study: Name of the study.
        row_file: Relative path from the page to the cell's ``result.json``.
        untrained: Answers of the model before training, by the id of their prompt.
        before: Name of the previous cell.
        after: Name of the next cell.
    """
    answers = [
        {
            **_texts(answer, "instruction", "reference", "response"),
            "source": answer["source"],
            "untrained": shortened(untrained[answer["id"]]) if answer["id"] in untrained else None,
        }
        for answer in cell.answers
    ]
    return _page(
        "cell",
        cell=cell,
        study=study,
        row_file=row_file,
        neighbours=[(word, f"../{page_of(name)}") for word, name in (("Previous", before), ("Next", after)) if name],
        facts=facts(cell.row),
        scores=scores(cell.row),
        metrics=metrics(cell.row),
        answers=answers,
        answer_sources=sources(cell.answers),
        verdicts=[_verdict(entry) for entry in cell.verdicts],
        verdict_sources=sources(cell.verdicts, "dataset"),
        examples=[
            {**_texts(example, "instruction", "response"), "source": example["source"], "id": example["id"]}
            for example in cell.examples
        ],
        example_sources=sources(cell.examples),
    )


def render_answers(cells: Sequence[CellContents], *, study: str) -> str:
    """Render the answers of all cells to the same prompts, prompt by prompt.

    Args:
        cells: Cells of the study.
        study: Name of the study.
    """
    prompts: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for answer in cell.answers:
            texts = _texts(answer, "instruction", "reference")
            prompt = prompts.setdefault(answer["id"], {**texts, "source": answer["source"], "answers": []})
            prompt["answers"].append((cell.label, page_of(cell.name), shortened(answer["response"])))
    shown = sorted(prompts.items(), key=lambda entry: (entry[1]["source"], entry[0]))
    return _page("answers", study=study, prompts=shown, sources=sources([prompt for _, prompt in shown]))


def _page(page: str, **values: Any) -> str:
    script = (HERE / "bundle.js").read_text(encoding="utf-8")
    return render_html(
        HERE, page, style="bundle", script=script, script_hashes=script_hash(script), answers_page=ANSWERS, **values
    )


def _texts(entry: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: shortened(entry[name]) for name in names}


def _verdict(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict as words: who is preferred, and how often over the orders of presentation."""
    preference = entry["preference"]
    if preference is None:
        outcome = "not readable"
    else:
        share = preference - 1
        outcome = (
            "tie" if share == 0.5 else f"{'this cell' if share > 0.5 else 'the baseline'}, {max(share, 1 - share):.0%}"
        )
    return {
        "source": entry["dataset"],
        "instruction": shortened(entry["instruction"]),
        "cell": shortened(entry["output_2"]),
        "baseline": shortened(entry["output_1"]),
        "baseline_name": entry["generator_1"],
        "judge": entry["annotator"],
        "outcome": outcome,
    }
