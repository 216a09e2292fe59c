"""The parts of a run's specification that concern the data: corpus and strategy.

Each part validates itself on construction and has an ``identity()``: its settings that decide the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sftdiv.config.decontamination_spec import DecontaminationSpec
from sftdiv.protocols import Needs, Reader, UnitExtractor
from sftdiv.records import SIDES, ModelRef, SftdivError, Side
from sftdiv.storage.hashing import identity_of, settings_identity
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.units.encoding import WORDS
from sftdiv.units.lexical import LEXICAL

if TYPE_CHECKING:
    from sftdiv.data.dedup import NearDuplicateFinder
    from sftdiv.data.semantic_dedup import SemanticDuplicateFinder


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Source and cleaning of the examples.

    Attributes:
        name: Option of the group ``corpus``.
        reader: Reader of the raw examples.
        heldout: Size of the held-out set, in examples; instruction groups are never split.
        seed: Seed of the held-out split.
        on_bad_row: ``error`` stops at the first invalid row; ``skip`` writes invalid rows to ``rejected.jsonl``.
        dedup: ``exact``, ``near``, ``semantic`` or ``none``.
        near: Finder of duplicates; None unless ``dedup`` is ``near`` or ``semantic``.
        decontamination: Search for the items of benchmarks.
        split: Finder of near-duplicate instructions, which no split divides; None for identical instructions.
        ood: Sources that are never trained on and scored as ``heldout.ood.SOURCE``.
        ood_size: Maximum number of scored examples of each of them.
        mix: Weights of the sources in the universe; empty for all sources as they are.
    """

    name: str
    reader: Reader
    heldout: int
    seed: int
    on_bad_row: str
    dedup: str
    near: NearDuplicateFinder | SemanticDuplicateFinder | None
    decontamination: DecontaminationSpec
    split: NearDuplicateFinder | None
    ood: Sequence[str]
    ood_size: int
    mix: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source, weight in self.mix.items():
            check_range(f"corpus.mix.{source}", weight, above=0)
        check_one_of("corpus.on_bad_row", self.on_bad_row, ("error", "skip"))
        check_one_of("corpus.dedup", self.dedup, ("exact", "near", "semantic", "none"))
        check_range("corpus.heldout", self.heldout, least=0, whole=True)
        check_range("corpus.ood_size", self.ood_size, least=1, whole=True)
        if isinstance(self.ood, str):
            raise SftdivError(f"corpus.ood={self.ood} must be a list of sources: corpus.ood=[{self.ood}]")

    def identity(self) -> dict[str, Any]:
        """All fields; parts by their own identities, and those that are at a default without effect left out."""
        identity = settings_identity(self) | {"ood": sorted(set(map(str, self.ood)))}
        if not self.ood:
            del identity["ood"], identity["ood_size"]
        total = sum(self.mix.values())
        identity["mix"] = {source: round(weight / total, 12) for source, weight in self.mix.items()}
        for part in ("decontamination", "split", "mix"):
            if not identity[part]:
                del identity[part]
        return identity


@dataclass(frozen=True, kw_only=True)
class StrategySpec:
    """Units of diversity and the side of the examples that they are extracted from.

    Attributes:
        name: Option of the group ``strategy``.
        side: ``instruction`` or ``response``.
        needs: Input of the extractor; see `Needs`.
        extractor: Extractor of the units.
        tokenizer: Tokenizer whose tokens are counted; None for the tokenizer of the trained model.
        permuted: Whether examples exchange their units; see `selection.placebo`.
    """

    name: str
    side: Side
    needs: Needs
    extractor: UnitExtractor
    tokenizer: ModelRef | None
    permuted: bool = False

    def __post_init__(self) -> None:
        check_one_of("strategy.side", self.side, SIDES)
        check_one_of("strategy.needs", self.needs, ("token_ids", "embeddings", "column", "nothing"))

    def identity(self) -> dict[str, Any]:
        """Name, side and extractor; the tokenizer only if tokens are counted, the permutation only if there is one."""
        tokenizer = self.tokenizer
        is_builtin = tokenizer is not None and tokenizer.path in (WORDS, LEXICAL)  # even if a folder has that name
        name = tokenizer.path if is_builtin and tokenizer else identity_of(tokenizer)
        counted = {"tokenizer": name} if self.needs == "token_ids" else {}
        permuted = {"permuted": True} if self.permuted else {}
        return {"name": self.name, "side": self.side, "extractor": identity_of(self.extractor), **counted, **permuted}
