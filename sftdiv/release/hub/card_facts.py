"""Facts of a model card as rows of text: data, training, and the diversity of the examples.

All facts come from a flat result row, which contains every setting as ``config.*``. They are pairs of a
name and a Markdown text; whatever comes from data is escaped. A fact whose columns are missing is left
out, so that a run that stopped early or trained nothing states what it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.reporting.format import format_number

Row = Mapping[str, Any]
Facts = list[tuple[str, str]]
MAX_SOURCES = 40
TRAINING_COLUMNS = {
    "train.steps": "optimizer steps",
    "train.tokens": "tokens read",
    "train.label_tokens": "label tokens",
    "train.loss": "final loss, nats per label token",
    "train.validation_loss": "lowest validation loss",
    "train.trained_parameters": "trained parameters",
    "train.truncated": "truncated conversations",
    "train.dropped": "dropped conversations: no label token",
    "train.too_long": "dropped conversations: too long",
    "speed.tokens_per_second": "tokens/s",
}
CORPORA = {"embedded": "the synthetic corpus of sftdiv, made-up facts", "files": "local files of the training machine"}


def data(row: Row) -> Facts:
    """The corpus and how the examples were selected from it."""
    content = f"{format_number(row['corpus.count.examples'])} examples, fingerprint `{row['corpus_hash']}`"
    facts = [("corpus", _corpus(row)), ("content", content)]
    if not row.get("n"):
        return facts
    facts.append(("trained on", chosen(row)))
    if row["kind"] == "level" and "k_max" in row:  # columns of the ladder selector
        requested, total, reached = (format_number(row[name]) for name in ("k_asked", "k_max", "k_reached"))
        facts.append(("types of units", f"k = {requested} of {total} requested, {reached} reached"))
    if "universe" in row:
        universe = f"a universe of {format_number(row['universe'])} examples"
        drawn_from = f"a pool of {format_number(row['pool'])} in {universe}" if "pool" in row else universe
        facts.append(("drawn from", drawn_from))
    facts.append(("matched on", {"none": "nothing"}.get(row["match"], markdown(row["match"]))))
    return [
        *facts,
        ("seed", format_number(row["seed"])),
        ("words per response", format_number(row["subset.response_words"])),
    ]


def chosen(row: Row) -> str:
    """Number of examples and how they were selected, as a phrase."""
    if row["kind"] == "full":
        return f"all {format_number(row['n'])} selectable examples"
    if row["kind"] == "random":
        return f"{format_number(row['n'])} examples, drawn uniformly"
    if row["kind"] == "selector":
        return f"{format_number(row['n'])} examples, selected by `{row['selector']}` on the {row['side']}"
    level = f"diversity level {row['level']:.3g} (0 is least, 1 is most)"
    return f"{format_number(row['n'])} examples, selected by `{row['strategy']}` on the {row['side']} at {level}"


def sources(row: Row) -> Facts:
    """Sources of the examples with their shares, the largest first."""
    shares = {key.removeprefix("subset.share."): value for key, value in row.items() if key.startswith("subset.share.")}
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    facts = [(markdown(name), percent(share)) for name, share in ordered[:MAX_SOURCES]]
    if rest := ordered[MAX_SOURCES:]:
        facts.append((f"{len(rest)} more", percent(sum(share for _, share in rest))))
    return facts


def measured(row: Row) -> list[tuple[str, str, str]]:
    """Every diversity metric with its value on the instructions and on the responses."""
    instruction, response = "diversity.instruction.", "diversity.response."
    names = dict.fromkeys(
        key.removeprefix(prefix) for prefix in (instruction, response) for key in row if key.startswith(prefix)
    )
    return [
        (name, format_number(row.get(f"{instruction}{name}")), format_number(row.get(f"{response}{name}")))
        for name in names
    ]


def units(row: Row) -> Facts:
    """Metrics of the units that the examples were selected by."""
    return [
        (name.replace("_", " "), format_number(row[f"diversity.units.{name}"]))
        for name in ("types", "per_example", "entropy", "coverage")
        if f"diversity.units.{name}" in row
    ]


def training(row: Row) -> Facts:
    """Method, settings and results of the training."""
    config = {key.removeprefix("config."): value for key, value in row.items() if key.startswith("config.")}
    epochs = config["model.finetune.epochs"]
    length = f"{config['train.steps']} steps" if config["train.steps"] else f"{epochs} epoch{'s' * (epochs != 1)}"
    decay, clip = config["model.finetune.weight_decay"], config["model.finetune.clip"]
    rate, warmup = config["model.finetune.learning_rate"], percent(config["model.finetune.warmup"])
    packed = ", packed" if config["data.packing"] else ""
    labels = "the responses and their end token" if config["loss.on"] == "response" else "all tokens"
    turns = "every turn" if config["loss.turns"] == "all" else "the last turn"
    facts = [
        ("method", _method(config)),
        ("chat template", f"{markdown(config['model.template.name'])}, in `chat_template.jinja`"),
        ("labels", f"{labels}, of {turns}"),
        ("longest conversation", f"{format_number(config['model.max_length'])} tokens{packed}"),
        ("length", f"{length} of {format_number(config['model.finetune.batch_size'])} conversations per step"),
        ("learning rate", f"{rate:g}, {config['train.schedule']} after {warmup} warm-up"),
        ("optimizer", f"{config['train.optimizer']}, weight decay {decay:g}, gradient norm at most {clip:g}"),
        ("seed", format_number(row["seed"])),
    ]
    return facts + [
        (label, format_number(row[name])) for name, label in TRAINING_COLUMNS.items() if row.get(name) is not None
    ]


def base_model(row: Row) -> str:
    """The model before training, as a phrase."""
    if row["config.model.source"] == "scratch":
        layers, width = row["config.model.architecture.layers"], row["config.model.architecture.width"]
        return (
            f"`{row['config.model.name']}`, a Llama of {layers} layers and width {width} that sftdiv makes from scratch"
        )
    name, revision = hub_id(row["config.model.path"]), row.get("config.model.revision")
    if name is None:
        return f"`{row['config.model.name']}`, a local folder of the training machine"
    return f"[{name}](https://huggingface.co/{name}){f' at `{revision}`' if revision else ''}"


def hub_id(path: str | None) -> str | None:
    """The path if it can be a hub id: ``NAME`` or ``OWNER/NAME``, and no file or folder on this machine."""
    if path is None or Path(path).expanduser().exists():
        return None
    return path if re.fullmatch(r"(?:[\w.-]+/)?\w[\w.-]*", path, re.ASCII) else None


def hub_dataset(row: Row) -> str | None:
    """Hub id of the corpus, or None; a name without owner may be a file format, such as ``json``."""
    name = hub_id(row["config.corpus.path"]) if row["config.corpus.name"] == "hub" else None
    return name if name is not None and "/" in name else None


def has_adapter(row: Row) -> bool:
    """Whether an adapter was trained instead of all weights."""
    return "config.train.adapter.rank" in row


def markdown(value: Any) -> str:
    """A value from data as literal Markdown on one line of a table."""
    plain = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", plain)


def percent(share: float) -> str:
    """A share of 1 in percent."""
    return f"{100 * share:.3g} %"


def _corpus(row: Row) -> str:
    corpus = row["config.corpus.name"]
    if corpus != "hub":
        return CORPORA.get(corpus, markdown(corpus))
    path, name = row["config.corpus.path"], hub_dataset(row)
    link = f"[{name}](https://huggingface.co/datasets/{name})" if name else markdown(path)
    details = [(key, row.get(f"config.corpus.{key}")) for key in ("config", "split", "revision")]
    return ", ".join([link, *(f"{key} `{value}`" for key, value in details if value)])


def _method(config: Mapping[str, Any]) -> str:
    if "train.adapter.rank" not in config:
        return "all weights"
    rank, alpha, dropout, targets, quantize, merge = (
        config[f"train.adapter.{name}"] for name in ("rank", "alpha", "dropout", "targets", "quantize", "merge")
    )
    modules = targets if isinstance(targets, str) else ", ".join(targets)
    base = f", base quantized to {quantize}" if quantize else ""
    saved = "merged into the weights" if merge else "saved as an adapter"
    return f"LoRA, rank {rank}, alpha {alpha:g}, dropout {dropout:g}, on {modules}{base}; {saved}"
