"""What is to be said of a model, as rows of text: its data, its training, how diverse the data are.

In: a flat result row and the settings behind it, as plain values. Out: pairs of a name and a text
in Markdown, whatever comes from data escaped. A fact that a row does not hold is left out, so that
a run that stopped early, or trained nothing, says what it has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
Facts = list[tuple[str, str]]
MOST = 40  # sources that are named
TRAINED = {  # columns of a row that tell of the training
    "train.steps": "optimizer steps",
    "train.tokens": "tokens read",
    "train.label_tokens": "tokens learned (labels)",
    "train.loss": "loss at the end, nats a label token",
    "train.validation_loss": "least loss on the validation share",
    "train.trained_parameters": "parameters trained",
    "train.truncated": "conversations cut to the length",
    "train.dropped": "conversations left out: nothing in them is learned",
    "train.too_long": "conversations left out: too long",
    "speed.tokens_per_second": "tokens a second",
}


def data(row: Row, settings: Mapping[str, Any]) -> Facts:
    """The corpus and how the examples were chosen from it."""
    corpus = settings["corpus"]
    content = f"{number(row['corpus.count.examples'])} examples, fingerprint `{row['corpus_hash']}`"
    facts = [("corpus", _corpus(corpus)), ("which holds", content)]
    if not row.get("n"):
        return facts
    facts.append(("trained on", chosen(row)))
    if row["kind"] == "level":
        k = f"k = {number(row['k_asked'])} of {number(row['k_max'])} asked, {number(row['k_reached'])} reached"
        facts.append(("types of units", k))
    facts.append(("drawn from", f"a pool of {number(row['pool'])} in a universe of {number(row['universe'])} examples"))
    facts.append(("held fixed", {"none": "nothing"}.get(row["match"], text(row["match"]))))
    return [*facts, ("seed", number(row["seed"])), ("words a response", number(row["subset.response_words"]))]


def chosen(row: Row) -> str:
    """How many examples there are and how they were chosen, in a few words."""
    if row["kind"] == "full":
        return f"all {number(row['n'])} examples that may be trained on"
    if row["kind"] == "random":
        return f"{number(row['n'])} examples, drawn uniformly"
    how = f"chosen by `{row['strategy']}` on the {row['side']} at diversity level {row['level']:.3g} (0 is least, 1 is most)"
    return f"{number(row['n'])} examples, {how}"


def sources(row: Row) -> Facts:
    """The sources of the examples with their shares, the largest first."""
    shares = {key.removeprefix("subset.share."): value for key, value in row.items() if key.startswith("subset.share.")}
    ordered = sorted(shares.items(), key=lambda each: (-each[1], each[0]))
    more = (
        [(f"{len(ordered) - MOST} more", percent(sum(share for _, share in ordered[MOST:])))]
        if len(ordered) > MOST
        else []
    )
    return [(text(name), percent(share)) for name, share in ordered[:MOST]] + more


def measured(row: Row) -> list[tuple[str, str, str]]:
    """Every diversity metric with its value on the instructions and on the responses."""
    prefixes = ("diversity.instruction.", "diversity.response.")
    names = dict.fromkeys(key.removeprefix(prefix) for prefix in prefixes for key in row if key.startswith(prefix))
    return [(name, *(number(row.get(f"{prefix}{name}")) for prefix in prefixes)) for name in names]  # type: ignore[misc]


def units(row: Row) -> Facts:
    """What the examples hold of the units that they were chosen by."""
    return [
        (name.replace("_", " "), number(row[f"diversity.units.{name}"]))
        for name in ("types", "per_example", "entropy", "coverage")
        if f"diversity.units.{name}" in row
    ]


def training(row: Row, settings: Mapping[str, Any]) -> Facts:
    """The method, its settings, and what it did."""
    model, method = settings["model"], settings["train"]
    tuned = model["finetune"]
    length = f"{method['steps']} steps" if method["steps"] else f"{tuned['epochs']} epoch{'s' * (tuned['epochs'] != 1)}"
    facts = [
        ("method", _method(method)),
        ("chat template", f"{text(model['template']['name'])}, in `chat_template.jinja`"),
        ("learned", _learned(settings["loss"])),
        (
            "longest conversation",
            f"{number(model['max_length'])} tokens{', packed' if settings['data']['packing'] else ''}",
        ),
        ("length", f"{length} of {number(tuned['batch_size'])} conversations a step"),
        ("learning rate", f"{tuned['learning_rate']:g}, {method['schedule']} after {percent(tuned['warmup'])} warm-up"),
        (
            "optimizer",
            f"{method['optimizer']}, weight decay {tuned['weight_decay']:g}, gradient norm at most {tuned['clip']:g}",
        ),
        ("seed", number(row["seed"])),
    ]
    known = [(told, row.get(name)) for name, told in TRAINED.items()]
    return facts + [(told, number(value)) for told, value in known if value is not None]


def base_model(settings: Mapping[str, Any]) -> str:
    """What the training began with, in a few words."""
    model = settings["model"]
    if model["source"] == "scratch":
        shape = model["architecture"]
        return f"`{model['name']}`, a Llama of {shape['layers']} layers and width {shape['width']} that sftdiv makes from scratch"
    name, revision = hub_id(model["path"]), model["revision"]
    if name is None:
        return f"`{model['name']}`, a folder of the machine that made it"
    return f"[{name}](https://huggingface.co/{name}){f' at `{revision}`' if revision else ''}"


def hub_id(path: str | None) -> str | None:
    """The path where it can be a hub id: ``NAME`` or ``OWNER/NAME``, and nothing of that name on this machine."""
    if path is None or Path(path).expanduser().exists():
        return None
    return path if re.fullmatch(r"(?:[\w.-]+/)?\w[\w.-]*", path, re.ASCII) else None


def hub_dataset(corpus: Mapping[str, Any]) -> str | None:
    """The corpus's id where it is a data set of the hub; a name alone may be a kind of file, such as ``json``."""
    name = hub_id(corpus["path"]) if corpus["name"] == "hub" else None
    return name if name is not None and "/" in name else None


def text(value: Any) -> str:
    """A value from data as Markdown that shows it and does nothing else, on one line of a table."""
    plain = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", plain)


def number(value: Any) -> str:
    """A number to be read; none where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def percent(share: float) -> str:
    """A share of 1 in percent."""
    return f"{100 * share:.3g} %"


def _corpus(corpus: Mapping[str, Any]) -> str:
    if corpus["name"] != "hub":
        return {
            "embedded": "the embedded world of sftdiv, made-up facts",
            "files": "files of the machine that trained",
        }.get(corpus["name"], text(corpus["name"]))
    told = [f"{name} `{corpus[name]}`" for name in ("config", "split", "revision") if corpus.get(name)]
    name = hub_dataset(corpus)
    return ", ".join([f"[{name}](https://huggingface.co/datasets/{name})" if name else text(corpus["path"]), *told])


def _method(method: Mapping[str, Any]) -> str:
    adapter = method["adapter"]
    if adapter is None:
        return "all weights"
    rank = f"rank {adapter['rank']}, alpha {adapter['alpha']:g}, dropout {adapter['dropout']:g}"
    held = f", base held in {adapter['quantize']}" if adapter["quantize"] else ""
    merged = "merged into the weights" if adapter["merge"] else "saved alone"
    return f"LoRA, {rank}, on {_listed(adapter['targets'])}{held}; {merged}"


def _learned(loss: Mapping[str, Any]) -> str:
    what = "the responses and their end token" if loss["on"] == "response" else "all tokens"
    return f"{what}, of {'every turn' if loss['turns'] == 'all' else 'the last turn'}"


def _listed(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)
