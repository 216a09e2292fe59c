"""``README.md`` of a model's folder: the model card, in the form that the Hugging Face hub reads.

In: the folder, the row of its run and the settings behind it. Out: YAML metadata (base model, data
set, tags, scores as a model-index) and a text: what was trained on what, how, how diverse the data
were, and what came of it. The form is the hub's (https://huggingface.co/docs/hub/model-cards; the
metadata: ``modelcard.md`` in github.com/huggingface/hub-docs). The trade: no licence is stated, for
the base model and the data have theirs, and which holds is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.release.hub import card_facts as facts
from sftdiv.release.hub.card_scores import evaluation_results, scores_of
from sftdiv.storage.files import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

HERE = Path(__file__).parent
CARD = "README.md"
ADAPTER = "adapter_config.json"  # by which `peft` knows its folders
ENDING = "generation_config.json"  # which `transformers` reads of a whole model, but not of an adapter


def write_model_card(folder: Path, row: Mapping[str, Any], settings: Mapping[str, Any], *, command: str) -> Path:
    """Write the card of a finished model into its folder.

    Args:
        folder: A model, or an adapter, in the hub's format.
        row: Of its run, as ``result.json`` holds it or will; scores and training may be missing.
        settings: Of the run, resolved and as plain values: what ``config.yaml`` holds.
        command: What makes the model again.

    Returns:
        The card's path.
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
    adapter = (folder / ADAPTER).exists()
    said = _said(row, settings, adapter=adapter) | {
        "command": command,
        "own_ending": adapter and (folder / ENDING).exists(),
    }
    body = environment.get_template("card.md.jinja").render(said)
    metadata = _metadata(row, settings, adapter=adapter).to_yaml()
    write_atomically(folder / CARD, str(ModelCard(f"---\n{metadata}\n---\n\n{body}")))
    return folder / CARD


def _metadata(row: Mapping[str, Any], settings: Mapping[str, Any], *, adapter: bool) -> ModelCardData:
    from huggingface_hub import ModelCardData

    corpus, model = settings["corpus"], settings["model"]
    base = facts.hub_id(model["path"]) if model["source"] != "scratch" else None
    data = facts.hub_dataset(corpus)
    results = evaluation_results(row, corpus=corpus["name"], hub_corpus=data)
    trained = row["kind"] != "base"
    tags = ["sftdiv", *(["sft", "data-diversity", row["strategy"]] if trained else [])]
    return ModelCardData(
        base_model=base,
        base_model_relation=("adapter" if adapter else "finetune") if base and trained else None,
        datasets=[data] if data and trained else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=[*tags, "lora"] if trained and settings["train"]["adapter"] else tags,
        model_name=row["cell"],
        eval_results=results or None,
    )


def _said(row: Mapping[str, Any], settings: Mapping[str, Any], *, adapter: bool) -> dict[str, Any]:
    """Everything that the template puts into words."""
    trained = row["kind"] != "base"
    return {
        "row": row,
        "base": facts.base_model(settings),
        "trained": trained,
        "adapter": adapter,
        "chosen": facts.chosen(row) if trained else "",
        "data": facts.data(row, settings),
        "sources": facts.sources(row),
        "measured": facts.measured(row),
        "units": facts.units(row),
        "training": facts.training(row, settings) if trained else [],
        "scores": [
            (
                facts.text(name),
                facts.number(value),
                "" if error is None else f"± {facts.number(error)}",
                name == row.get("primary"),
            )
            for name, (value, error) in scores_of(row).items()
        ],
        "better": {True: "Higher is better.", False: "Lower is better."}.get(row.get("higher_is_better"), ""),  # type: ignore[arg-type]
        "versions": ", ".join(
            f"{key.removeprefix('versions.')} {row[key]}" for key in row if key.startswith("versions.")
        ),
    }
