"""The specification of a run: one frozen, typed record of everything that decides its result.

`RunSpec` is built once from the composed config (`config.build`). Each part validates itself on
construction and has an ``identity()``: its settings that decide the result, with files by content and
without class names, paths or speed settings. The same identities name a run's folder (`RunSpec.cell`) and
key the cached artifacts, so that the two cannot disagree. A part without effect is absent from it: there is
no near-duplicate finder unless ``corpus.dedup=near``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sftdiv.config.data_spec import CorpusSpec, StrategySpec
from sftdiv.config.seeds import Seeds
from sftdiv.config.selection_spec import SelectionSpec, SizeSpec
from sftdiv.diversity.registry import metrics_identity
from sftdiv.protocols import Embedder, Evaluator
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.cell import Cell, check_cell_name
from sftdiv.storage.hashing import content_hash, identity_of, settings_identity
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.config import TrainingConfig
from sftdiv.units.lexical import LEXICAL

__all__ = ["CorpusSpec", "ModelSpec", "PretrainSpec", "RunSpec", "Seeds", "SelectionSpec", "SizeSpec", "StrategySpec"]

StopAfter = Literal["select", "train"] | None
SELECT: StopAfter = "select"  # trains nothing


@dataclass(frozen=True, kw_only=True)
class PretrainSpec:
    """Pretraining of a base model from scratch.

    Attributes:
        reads: Training texts: ``world`` (statements of the synthetic corpus) or ``corpus`` (a share of the corpus).
        vocabulary: Size of the tokenizer's vocabulary.
        share: Share of the corpus's instruction groups used for pretraining.
        seed: Seed of the initial weights and of the order of the texts.
        architecture: Shape of the model.
        settings: Steps, batch size and optimizer: the arguments of `training.pretrain.train_base`.
    """

    reads: str
    vocabulary: int
    share: float
    seed: int
    architecture: ArchitectureConfig
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_one_of("model.reads", self.reads, ("world", "corpus"))
        check_range("model.pretrain_share", self.share, least=0, most=1)

    def identity(self) -> dict[str, Any]:
        """All fields; the share only with ``reads=corpus``."""
        return settings_identity(self) if self.reads == "corpus" else settings_identity(self) | {"share": None}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The model to fine-tune: a pretrained one, or one that is pretrained from scratch first.

    Attributes:
        name: Option of the group ``model``.
        ref: The pretrained model; None if it is pretrained from scratch.
        pretrain: Pretraining from scratch; None for a pretrained model.
        max_length: Longest conversation, in tokens.
    """

    name: str
    ref: ModelRef | None
    pretrain: PretrainSpec | None
    max_length: int

    def __post_init__(self) -> None:
        if (self.ref is None) == (self.pretrain is None):
            raise SftdivError(f"model={self.name} must name a pretrained model (model.path) or be trained from scratch")

    @property
    def revision(self) -> str | None:
        """Hub revision of a pretrained model, else None."""
        return None if self.ref is None else self.ref.revision

    def identity(self) -> dict[str, Any]:
        """All fields; the rule ``lexical`` by its name, even if a folder has that name."""
        is_rule = self.name == LEXICAL and self.ref is not None and self.ref.path == LEXICAL
        return settings_identity(self) | ({"ref": LEXICAL} if is_rule else {})


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides the result of one run.

    Attributes:
        corpus: Source and cleaning of the examples.
        strategy: Units of diversity.
        selection: Selectable examples, selector, size and level.
        embedder: Embedder of the texts; without one, metrics that need it are skipped.
        model: Base model.
        training: Fine-tuning.
        evaluators: Evaluators by name, in command-line order.
        primary: Name of the performance score; None for the first evaluator's primary score.
        metrics: Families of diversity metrics.
        samples: Number of generations in ``samples.jsonl``.
        seeds: Seeds of the ladder, the draw and the fine-tuning.
        stop_after: Last stage, ``select`` or ``train``; None for all stages.
    """

    corpus: CorpusSpec
    strategy: StrategySpec
    selection: SelectionSpec
    embedder: Embedder | None
    model: ModelSpec
    training: TrainingConfig
    evaluators: Mapping[str, Evaluator]
    primary: str | None
    metrics: Sequence[str]
    samples: int
    seeds: Seeds
    stop_after: StopAfter

    def __post_init__(self) -> None:
        check_one_of("stop_after", self.stop_after, (None, "select", "train"))
        check_range("samples", self.samples, least=0, whole=True)
        for setting, name in (("strategy.name", self.strategy.name), ("model.name", self.model.name)):
            if not re.fullmatch(r"[^/\\\0]+", name):
                raise SftdivError(f"{setting}={name!r} is part of a folder's name and must not contain a slash")
        universe = self.selection.universe
        if universe is not None and universe.needs == "embeddings" and self.embedder is None:
            raise SftdivError(
                f"selection.universe={universe.name} clusters embeddings, and embedder=none makes none: "
                "embedder=minilm or embedder=lsa"
            )
        if self.strategy.needs == "embeddings" and self.embedder is None:
            raise SftdivError(
                f"strategy={self.strategy.name} clusters embeddings, which embedder=none does not compute: "
                "use embedder=minilm or embedder=lsa"
            )
        if self.selection.needs_embeddings and self.embedder is None:
            raise SftdivError(
                f"selector={self.selection.rival} compares embeddings, which embedder=none does not compute: "
                "use embedder=minilm or embedder=lsa"
            )
        if self.selection.needs_names and getattr(self.embedder, "learns", self.embedder is None):
            raise SftdivError(
                f"selector={self.selection.rival} embeds the names of unit types, which needs a model of phrases: use "
                "embedder=minilm (embedder=lsa learns from whole texts)"
            )
        if self.selection.needs_base and self.model.name == LEXICAL:
            raise SftdivError(
                f"selector={self.selection.rival} reads the examples with the base model, and with stop_after=select "
                "none is trained from scratch: use a pretrained model, such as model=smollm2_135m, or stop_after=train"
            )
        if self.model.pretrain and self.model.pretrain.reads == "world" and self.corpus.name != "embedded":
            raise SftdivError(
                f"model={self.model.name} is pretrained on the synthetic corpus; with corpus={self.corpus.name} use "
                "model=scratch_3m or a pretrained model, such as model=smollm2_135m"
            )

    def identity(self) -> dict[str, Any]:
        """Identities of all parts, without those of skipped stages."""
        skipped: tuple[str, ...] = ()
        if self.stop_after is not None:
            skipped = ("evaluators", "primary", "samples")
        if self.stop_after == "select":
            skipped += ("training",)
        parts = settings_identity(self) | {"metrics": metrics_identity(self.metrics)}
        identity = {name: value for name, value in parts.items() if name not in skipped}
        if self.stop_after == "select":
            del identity["seeds"]["train"]
        if self.selection.size.nothing:  # nothing is measured, and nothing is trained
            del identity["metrics"]
            for name in ("schedule", "fine_tuning", "optimizer") if "training" in identity else ():
                del identity["training"][name]
        return identity

    def evaluation_identity(self) -> dict[str, Any]:
        """Identities of the evaluators: what decides the scores of a given model."""
        return {name: identity_of(evaluator) for name, evaluator in self.evaluators.items()}

    def cell(self, study: str, root: Path) -> Cell:
        """Folder of this run, named by what decides its result.

        The name holds strategy, side, size, level, model and seed; that of a selector without levels stands in place
        of strategy and level. A hash covers the rest and is shared by the cells of one ladder.

        Args:
            study: Name of the study.
            root: Folder of all studies.
        """
        rest = self.identity()
        strategy, model, selection = rest["strategy"], rest["model"], rest["selection"]
        rival = self.selection.rival
        readable = [rival or strategy.pop("name"), strategy.pop("side"), self.selection.size.label]
        size = selection.pop("size")
        if size["label_tokens"] == "auto":
            rest["label_tokens"] = "auto"  # else size.n and its token budget would share the hash of a ladder
        elif size["label_tokens"] is not None:
            rest["n"] = size["n"]  # scales selection.k_min_size and is not in the name
        level = selection.pop("level")
        readable += [] if rival else [f"d{level:.3g}"]
        readable += [model.pop("name"), self._seeds_label()]
        del rest["seeds"]
        common = content_hash(rest, length=6)
        is_exact_in_name = float(f"{level:.3g}") == level  # 1/6 and 0.167 are different levels
        digest = common if is_exact_in_name else content_hash([rest, level], length=6)
        name = "-".join([*readable, f"h{digest}"])
        check_cell_name(name)
        return Cell(study, name, root / study / name, common)

    def _seeds_label(self) -> str:
        is_trained = self.stop_after != "select"
        return (self.seeds if is_trained else replace(self.seeds, train=self.seeds.draw)).label

    def columns(self) -> dict[str, Any]:
        """Identifying columns of the result row, used to group tables."""
        size, rival = self.selection.size, self.selection.rival
        kind = "full" if size.everything else "base" if size.nothing else "selector" if rival else "level"
        return {
            "kind": "random" if kind == "level" and self.strategy.name == "random" else kind,
            **({"selector": rival} if rival else {}),
            "strategy": self.strategy.name,
            "side": self.strategy.side,
            **size.columns,
            "level": None if rival else self.selection.level,
            "match": self.selection.match,
            "universe_of": self.selection.universe_name,
            **self.seeds.columns,
            "model": self.model.name,
            "corpus": self.corpus.name,
        }
