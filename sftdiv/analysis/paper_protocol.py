"""Where a study deviates from the paper's protocol: each step with the paper's value and the study's.

The input is a study, whose rows hold every resolved setting. The output is one row per step of the protocol of Li, Li,
Dong, Liu, *From Macro to Micro* (arXiv 2505.24768). A step that the paper is not known to state is listed as decided
here, so that it is not mistaken for its protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pandas as pd

from sftdiv.analysis.study import Study

AS_PAPER, DEVIATES, DECIDED, UNKNOWN = "as in the paper", "deviates", "decided here", "not in the rows"
COLUMNS = ("step", "paper", "study", "verdict")
PARTS = {
    "UmapHdbscanClusterer": "UMAP and HDBSCAN",
    "HdbscanClusterer": "PCA and HDBSCAN",
    "KmeansClusterer": "k-means",
    "EvocClusterer": "EVoC",
    "LlmTagger": "a language model",
    "LocalTagger": "a local language model",
    "KeyphraseTagger": "key phrases",
    "ColumnTagUnits": "a column of the data",
}
NOT_STATED = "not known"
CORPUS_SIZE, SIZE_TOLERANCE = 117_000, 0.1  # examples, and the relative difference that is no deviation
JUDGE = "Llama-3.1-Nemotron-70B"


@dataclass(frozen=True)
class Cells:
    """The ladder cells of a study: their rows, and the flat settings of each by its name."""

    rows: pd.DataFrame
    settings: Mapping[str, Mapping[str, Any]]

    def column(self, name: str) -> list[Any]:
        """Distinct values of a column, sorted; none if the rows lack it."""
        return sorted(self.rows[name].dropna().unique()) if name in self.rows else []

    def of(self, strategy: str) -> Cells:
        """The cells of a strategy; all if the name is empty."""
        return Cells(self.rows[self.rows["strategy"] == strategy], self.settings) if strategy else self

    def setting(self, name: str) -> list[str]:
        """Distinct values of a setting as text, sorted; a class is shown by what it does, else by its name."""
        settings = (self.settings[str(cell)] for cell in self.rows["cell"])
        return sorted({_text(flat[name]) for flat in settings if name in flat})


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = "none" if value is None else str(value)
    name = text.rpartition(".")[2] if text.startswith("sftdiv.") else text
    return PARTS.get(name, name)


Read = Callable[[Cells], list[str]]


@dataclass(frozen=True)
class Step:
    """One step of the protocol.

    Attributes:
        name: Name of the item of the protocol.
        paper: The paper's value in words.
        read: The study's values, or the name of a setting that has them; none where its rows do not say.
        expected: The values that agree with the paper, or a test of the study's; None if the paper's are not known.
        strategy: The only strategy that has the step; empty for all.
    """

    name: str
    paper: str
    read: Read | str
    expected: Sequence[str] | Callable[[list[str]], bool] | None = None
    strategy: str = ""

    def row(self, cells: Cells) -> tuple[str, str, str, str]:
        """The values of ``COLUMNS``."""
        own = cells.of(self.strategy)
        values = own.setting(self.read) if isinstance(self.read, str) else self.read(own)
        return self.name, self.paper, "; ".join(values) or UNKNOWN, self._verdict(values)

    def _verdict(self, values: list[str]) -> str:
        if not values:
            return UNKNOWN
        if self.expected is None:
            return DECIDED
        agrees = self.expected(values) if callable(self.expected) else values == list(self.expected)
        return AS_PAPER if agrees else DEVIATES


def protocol_table(study: Study) -> pd.DataFrame:
    """Each step of the paper's protocol beside what the study did.

    Args:
        study: Result of ``load_study``; its ladder cells count.

    Returns:
        The columns ``COLUMNS``; steps of strategies that the study does not have are left out.
    """
    rows = study.cells[study.cells["kind"] == "level"]
    strategies = {"", *rows["strategy"]}
    steps = [step for step in STEPS if step.strategy in strategies]
    return pd.DataFrame([step.row(Cells(rows, study.settings)) for step in steps], columns=list(COLUMNS))


def _column(name: str) -> Read:
    return lambda cells: [str(value) for value in cells.column(name)]


def _sides(cells: Cells) -> list[str]:
    pairs = cells.rows[["strategy", "side"]].drop_duplicates()
    return sorted(f"{strategy} of the {side}" for strategy, side in pairs.itertuples(index=False))


def _levels(cells: Cells) -> list[str]:
    return [str(Fraction(float(level)).limit_denominator(100)) for level in cells.column("level")]


def _sizes(cells: Cells) -> list[str]:
    return [f"{size:,.0f}" for size in cells.column("size")]


def _runs(cells: Cells) -> list[str]:
    point = ["strategy", "side", "size", "budget", "level", "match", "model", "variant"]
    return [str(count) for count in sorted(cells.rows.groupby(point, dropna=False).size().unique())]


def _corpus_size(cells: Cells) -> list[str]:
    return [f"{count:,.0f} examples" for count in cells.column("corpus.count.examples")]


def _is_corpus_size(values: list[str]) -> bool:
    sizes = [int(value.split()[0].replace(",", "")) for value in values]
    return all(abs(size / CORPUS_SIZE - 1) <= SIZE_TOLERANCE for size in sizes)


def _band(cells: Cells) -> list[str]:
    parts = [cells.setting(f"strategy.units.{part}") for part in ("low", "high", "unit", "scale")]
    if any(len(values) != 1 for values in parts):
        return ["; ".join(values) for values in parts if values]
    low, high, unit, scale = (values[0] for values in parts)
    return [f"{low} to {high} {unit}" + ("" if scale == "absolute" else f", {scale}")]


def _tags(cells: Cells) -> list[str]:
    """What gives the tags: a tagger, or else the extractor itself."""
    return cells.setting("strategy.units.tagger._target_") or cells.setting("strategy.units._target_")


def _prompts(cells: Cells) -> list[str]:
    """The sets of prompts that each cell is judged on, together."""
    sets = {
        ", ".join(sorted(str(value) for name, value in flat.items() if re.fullmatch(r"prompts\.\w+\.name", name)))
        for flat in (cells.settings[str(cell)] for cell in cells.rows["cell"])
    }
    return sorted(sets - {""})


def _names(part: str) -> Callable[[list[str]], bool]:
    """Whether the only value contains a name."""
    return lambda values: len(values) == 1 and part.lower() in values[0].lower()


def _among(*known: str) -> Callable[[list[str]], bool]:
    """Whether all values are among known ones."""
    return lambda values: set(values) <= set(known)


TOPICS, TAGS, TOKENS = "macro_topic", "meso_tag", "micro_token"
SIDES = [f"{strategy} of the {side}" for strategy in (TOPICS, TAGS, TOKENS) for side in ("instruction", "response")]
METRICS = "1-gram ratio, 2-gram ratio, embedding distance, length, compression ratio, self-BLEU, entropy"
STEPS = (
    Step("corpus", "117,000 examples", _corpus_size, _is_corpus_size),
    Step("responses", f"all regenerated by {JUDGE}", lambda cells: []),
    Step("conversations", "one turn", lambda cells: []),
    Step("strategies and sides", "all six", _sides, SIDES),
    Step(
        "topics",
        "HDBSCAN on embeddings (UMAP is not named)",
        "strategy.units.clusterer._target_",
        _names("HDBSCAN"),
        TOPICS,
    ),
    Step("embedding model of topics", NOT_STATED, "embedder.path", strategy=TOPICS),
    Step("settings of HDBSCAN", NOT_STATED, "strategy.units.clusterer.min_cluster_size", strategy=TOPICS),
    Step("texts outside all topics", NOT_STATED, "strategy.units.noise", strategy=TOPICS),
    Step("tags", "a language model (InsTag)", _tags, _names("language model"), TAGS),
    Step("tagging model", NOT_STATED, "strategy.model", strategy=TAGS),
    Step("tokens", "of the trained model", "strategy.tokenizer", ["model"], TOKENS),
    Step("band of tokens", "10 to 500 documents (from figure 2)", _band, ["10 to 500 documents"], TOKENS),
    Step("pruning", "what contributes least first", "selection.prune", _among("support", "sample")),
    Step("types at level 0", NOT_STATED, "selection.k_min"),
    Step("size that fixes types at level 0", NOT_STATED, "selection.k_min_size"),
    Step("levels", "0, 1/6, 1/3, 1/2, 2/3, 5/6, 1", _levels, ["0", "1/6", "1/3", "1/2", "2/3", "5/6", "1"]),
    Step("sizes", "10,000; 20,000; 30,000", _sizes, ["10,000", "20,000", "30,000"]),
    Step("budget", "examples", _column("budget"), ["examples"]),
    Step("matching", "none", _column("match"), ["none"]),
    Step("share of the universe", "1.0", "selection.universe_share", _among("1", "1.0")),
    Step("copies of one text", "no limit", "selection.max_per_group", ["none"]),
    Step("runs per point", "one is shown", _runs, ["1"]),
    Step("model", "Llama-2-7B", "model.path", _names("Llama-2-7b")),
    Step("weights trained", NOT_STATED, "train.name"),
    Step("epochs", NOT_STATED, "model.finetune.epochs"),
    Step("learning rate", NOT_STATED, "model.finetune.learning_rate"),
    Step("batch size", NOT_STATED, "model.finetune.batch_size"),
    Step("tokens in the loss", "the response", "loss.on", ["response"]),
    Step("performance", "pairwise win rate", _column("primary"), ["judge.win_rate"]),
    Step("prompts", "AlpacaEval 2.0 and Arena-Hard, merged", _prompts, ["alpaca_eval, arena_hard"]),
    Step("judge", JUDGE, "judge.model", _names(JUDGE.removeprefix("Llama-"))),
    Step("judge's baseline", "one for each base model, not named", "judge.baseline"),
    Step("judge's request", NOT_STATED, "judge.template.name"),
    Step("metrics", METRICS, "diversity.metrics", _among("paper", "all")),
)
