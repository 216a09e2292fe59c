"""Writes the model card of a model's folder, ``README.md``, in the form of the Hugging Face hub.

The card has YAML metadata (base model, data set, tags, scores as a model-index) and a text about the
training data, its diversity, the training and the scores. All of it comes from the result row. The form
is the hub's (https://huggingface.co/docs/hub/model-cards; metadata: ``modelcard.md`` in
github.com/huggingface/hub-docs). No licence is stated: the base model and the data have theirs, and which
one applies is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.release.hub import card_facts as facts
from sftdiv.release.hub.card_scores import evaluation_results, scores_of
from sftdiv.reporting.format import format_number
from sftdiv.storage.files import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

HERE = Path(__file__).parent
CARD = "README.md"
ADAPTER = "adapter_config.json"  # marks the folder of an adapter for `peft`
GENERATION_CONFIG = "generation_config.json"  # `transformers` reads it for a whole model, but not for an adapter


def write_model_card(folder: Path, row: Mapping[str, Any], *, command: str) -> Path:
    """Write the card of a finished model into its folder.

    Args:
        folder: Model or adapter in the hub's format.
        row: Result row with the settings as ``config.*``; scores and training may be missing.
        command: Shell command that reproduces the model.

    Returns:
        Path of the card.
    """
    from huggingface_hub import ModelCard
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    is_adapter = (folder / ADAPTER).exists()
    fields = {
        **_fields(row, is_adapter=is_adapter),
        "command": command,
        "own_generation_config": is_adapter and (folder / GENERATION_CONFIG).exists(),
    }
    body = environment.get_template("card.md.jinja").render(fields)
    metadata = _metadata(row, is_adapter=is_adapter).to_yaml()
    write_atomically(folder / CARD, str(ModelCard(f"---\n{metadata}\n---\n\n{body}")))
    return folder / CARD


def _metadata(row: Mapping[str, Any], *, is_adapter: bool) -> ModelCardData:
    from huggingface_hub import ModelCardData

    base = facts.hub_id(row["config.model.path"]) if row["config.model.source"] != "scratch" else None
    dataset = facts.hub_dataset(row)
    results = evaluation_results(row, corpus=row["config.corpus.name"], hub_corpus=dataset)
    trained = row["kind"] != "base"
    tags = ["sftdiv", *(["sft", "data-diversity", row["strategy"]] if trained else [])]
    return ModelCardData(
        base_model=base,
        base_model_relation=("adapter" if is_adapter else "finetune") if base and trained else None,
        datasets=[dataset] if dataset and trained else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=[*tags, "lora"] if trained and facts.has_adapter(row) else tags,
        model_name=row["cell"],
        eval_results=results or None,
    )


def _fields(row: Mapping[str, Any], *, is_adapter: bool) -> dict[str, Any]:
    """Fields of the template."""
    trained = row["kind"] != "base"
    scores = [
        (
            facts.markdown(name),
            format_number(value),
            "" if error is None else f"± {format_number(error)}",
            name == row.get("primary"),
        )
        for name, (value, error) in scores_of(row).items()
    ]
    direction = {True: "Higher is better.", False: "Lower is better.", None: ""}
    versions = [f"{key.removeprefix('versions.')} {row[key]}" for key in row if key.startswith("versions.")]
    return {
        "row": row,
        "base": facts.base_model(row),
        "trained": trained,
        "is_adapter": is_adapter,
        "chosen": facts.chosen(row) if trained else "",
        "data": facts.data(row),
        "sources": facts.sources(row),
        "measured": facts.measured(row),
        "units": facts.units(row),
        "training": facts.training(row) if trained else [],
        "scores": scores,
        "direction": direction[row.get("higher_is_better")],
        "versions": ", ".join(versions),
    }
