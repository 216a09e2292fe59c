"""The parts of a run's specification that concern the data: corpus, strategy, size and selection.

Each part validates itself when it is made and answers ``identity()``: what of it decides the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import Needs, Reader, Selector, UnitExtractor
from sftdiv.records import SIDES, ModelRef, SftdivError, Side
from sftdiv.selection.universe import MATCHES
from sftdiv.storage.hashing import identity_of, settings_identity
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.units.encoding import WORDS
from sftdiv.units.lexical import LEXICAL

if TYPE_CHECKING:
    from sftdiv.data.dedup import NearDuplicateFinder


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Where the examples come from and how they are cleaned.

    Attributes:
        name: Option of the group ``corpus``.
        reader: Reads the raw examples.
        heldout: Examples for evaluation, in whole instruction groups.
        seed: Seed of the held-out split.
        on_bad_row: ``error`` stops at the first bad row; ``skip`` writes them to ``rejected.jsonl``.
        dedup: ``exact``, ``near`` or ``none``.
        near: Finder of near duplicates; None unless ``dedup`` is ``near``.
    """

    name: str
    reader: Reader
    heldout: int
    seed: int
    on_bad_row: str
    dedup: str
    near: NearDuplicateFinder | None

    def __post_init__(self) -> None:
        check_one_of("corpus.on_bad_row", self.on_bad_row, ("error", "skip"))
        check_one_of("corpus.dedup", self.dedup, ("exact", "near", "none"))
        check_range("corpus.heldout", self.heldout, least=0, whole=True)

    def identity(self) -> dict[str, Any]:
        """All of it; the reader and the finder answer for themselves."""
        return settings_identity(self)


@dataclass(frozen=True, kw_only=True)
class StrategySpec:
    """Units of diversity and the side of the examples that they are extracted from.

    Attributes:
        name: Option of the group ``strategy``.
        side: ``instruction`` or ``response``.
        needs: What the extractor uses of a side; see `Needs`.
        extractor: Extracts the units.
        tokenizer: Tokenizer whose tokens are counted; None for the trained model's own.
    """

    name: str
    side: Side
    needs: Needs
    extractor: UnitExtractor
    tokenizer: ModelRef | None

    def __post_init__(self) -> None:
        check_one_of("strategy.side", self.side, SIDES)
        check_one_of("strategy.needs", self.needs, ("token_ids", "embeddings", "column", "nothing"))

    def identity(self) -> dict[str, Any]:
        """The extractor's identity; the tokenizer only where tokens are counted."""
        tokenizer = self.tokenizer
        builtin = tokenizer is not None and tokenizer.path in (WORDS, LEXICAL)  # even where a folder has that name
        named = tokenizer.path if builtin and tokenizer else identity_of(tokenizer)
        counted = {"tokenizer": named} if self.needs == "token_ids" else {}
        return {"name": self.name, "side": self.side, "extractor": identity_of(self.extractor), **counted}


@dataclass(frozen=True, kw_only=True)
class SizeSpec:
    """How much is selected.

    Attributes:
        n: Number of examples; 0 for none (the base model), ``all`` for the whole universe.
        label_tokens: Budget of response tokens instead; ``auto`` for as many as ``n`` average examples hold.
    """

    n: int | str
    label_tokens: int | str | None

    def __post_init__(self) -> None:
        if self.n != "all":
            check_range("size.n", self.n, least=0, whole=True)
        if self.label_tokens != "auto":
            check_range("size.label_tokens", self.label_tokens, least=1, whole=True, optional=True)

    @property
    def everything(self) -> bool:
        """Whether the whole universe is selected."""
        return self.n == "all"

    @property
    def nothing(self) -> bool:
        """Whether nothing is selected, so that the base model is evaluated as it is."""
        return self.n == 0

    @property
    def label(self) -> str:
        """The size as part of a folder's name."""
        if self.label_tokens is None:
            return f"n{self.n}"
        return f"n{self.n}tokens" if self.label_tokens == "auto" else f"t{self.label_tokens}"

    @property
    def columns(self) -> dict[str, Any]:
        """``size`` and ``budget`` of a result row."""
        in_examples = self.label_tokens in (None, "auto")
        return {
            "size": self.n if in_examples else self.label_tokens,
            "budget": "examples" if self.label_tokens is None else "tokens",
        }

    def identity(self) -> dict[str, Any]:
        """The number that counts: ``n`` beside a fixed budget of tokens only scales ``selection.k_min_size``."""
        return settings_identity(self)


@dataclass(frozen=True, kw_only=True)
class SelectionSpec:
    """Which examples may be chosen, by which selector, how many, and at which diversity level.

    Attributes:
        selector: The selector.
        level: Diversity level in [0, 1].
        size: How much is selected.
        match: What is held fixed by stratified quotas; one of ``MATCHES``.
        universe: Strategy whose universe is drawn from; None for the run's own.
        replicate: Share of the instruction groups that the seed keeps.
        response_tokens: Shortest and longest response, in the model's tokens; None for all.
        sources: Sources to keep; None for all.
    """

    selector: Selector
    level: float
    size: SizeSpec
    match: str
    universe: StrategySpec | None
    replicate: float
    response_tokens: Sequence[int] | None
    sources: Sequence[str] | None

    def __post_init__(self) -> None:
        check_range("diversity_level", self.level, least=0, most=1)
        check_one_of("selection.match", self.match, MATCHES)
        check_range("selection.replicate", self.replicate, least=0, most=1)
        if self.size.everything and self.level != 1:
            raise SftdivError(f"size.n=all is all of the universe, and so is diversity_level=1, not {self.level}")
        band = self.response_tokens
        if band is not None and not (isinstance(band, (list, tuple)) and len(band) == 2 and 0 <= band[0] <= band[1]):
            raise SftdivError(f"selection.response_tokens={band} must be [low, high], two numbers of tokens, low first")
        if self.sources is not None and not isinstance(self.sources, (list, tuple)):
            raise SftdivError(f"selection.sources={self.sources} must be a list: selection.sources=[{self.sources}]")

    @property
    def universe_name(self) -> str:
        """The strategy whose universe is drawn from, ``own`` for the run's own."""
        return "own" if self.universe is None else self.universe.name

    def identity(self) -> dict[str, Any]:
        """All of it; the order of the sources does not count."""
        sources = None if self.sources is None else sorted({str(source) for source in self.sources})
        return settings_identity(self) | {"sources": sources}
