"""The parts of a run's specification that concern the data: corpus, strategy, size and selection.

Each part validates itself on construction and has an ``identity()``: its settings that decide the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sftdiv.config.decontamination_spec import DecontaminationSpec
from sftdiv.protocols import Needs, Reader, Selector, UnitExtractor
from sftdiv.records import SIDES, ModelRef, SftdivError, Side
from sftdiv.selection.group_cap import GROUPINGS
from sftdiv.selection.universe import MATCHES, match_identity
from sftdiv.storage.hashing import identity_of, settings_identity
from sftdiv.storage.validate import check_one_of, check_range, shown_value
from sftdiv.units.encoding import WORDS
from sftdiv.units.lexical import LEXICAL

if TYPE_CHECKING:
    from sftdiv.data.dedup import NearDuplicateFinder


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Source and cleaning of the examples.

    Attributes:
        name: Option of the group ``corpus``.
        reader: Reader of the raw examples.
        heldout: Size of the held-out set, in examples; instruction groups are never split.
        seed: Seed of the held-out split.
        on_bad_row: ``error`` stops at the first invalid row; ``skip`` writes invalid rows to ``rejected.jsonl``.
        dedup: ``exact``, ``near`` or ``none``.
        near: Finder of near duplicates; None unless ``dedup`` is ``near``.
        decontamination: Search for the items of benchmarks.
        split: Finder of near-duplicate instructions, which no split divides; None for identical instructions.
        ood: Sources that are never trained on and scored as ``heldout.ood.SOURCE``.
        ood_size: Maximum number of scored examples of each of them.
    """

    name: str
    reader: Reader
    heldout: int
    seed: int
    on_bad_row: str
    dedup: str
    near: NearDuplicateFinder | None
    decontamination: DecontaminationSpec
    split: NearDuplicateFinder | None
    ood: Sequence[str]
    ood_size: int

    def __post_init__(self) -> None:
        check_one_of("corpus.on_bad_row", self.on_bad_row, ("error", "skip"))
        check_one_of("corpus.dedup", self.dedup, ("exact", "near", "none"))
        check_range("corpus.heldout", self.heldout, least=0, whole=True)
        check_range("corpus.ood_size", self.ood_size, least=1, whole=True)
        if isinstance(self.ood, str):
            raise SftdivError(f"corpus.ood={self.ood} must be a list of sources: corpus.ood=[{self.ood}]")

    def identity(self) -> dict[str, Any]:
        """All fields; parts by their own identities, and those that are at a default without effect left out."""
        identity = settings_identity(self) | {"ood": sorted(set(map(str, self.ood)))}
        if not self.ood:
            del identity["ood"], identity["ood_size"]
        for part in ("decontamination", "split"):
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


@dataclass(frozen=True, kw_only=True)
class SizeSpec:
    """Size of the subset.

    Attributes:
        n: Number of examples; 0 for none (the base model), ``all`` for the whole universe.
        label_tokens: Budget of response tokens, which replaces ``n``; ``auto`` for that of ``n`` average examples.
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
        """Whether nothing is selected, so that the base model itself is evaluated."""
        return self.n == 0

    @property
    def chooses(self) -> bool:
        """Whether some of the universe are selected and others are not, so that strategy and level have an effect."""
        return not (self.everything or self.nothing)

    @property
    def label(self) -> str:
        """The size in a cell's name."""
        if self.label_tokens is None:
            return f"n{self.n}"
        return f"n{self.n}tokens" if self.label_tokens == "auto" else f"t{self.label_tokens}"

    @property
    def columns(self) -> dict[str, Any]:
        """Columns ``size`` and ``budget`` of a result row."""
        in_examples = self.label_tokens in (None, "auto")
        return {
            "size": self.n if in_examples else self.label_tokens,
            "budget": "examples" if self.label_tokens is None else "tokens",
        }

    def identity(self) -> dict[str, Any]:
        """Both fields: beside a fixed token budget, ``n`` still scales ``selection.k_min_size``."""
        return settings_identity(self)


@dataclass(frozen=True, kw_only=True)
class SelectionSpec:
    """Selectable examples, selector, size and diversity level.

    Attributes:
        selector: The selector.
        level: Diversity level in [0, 1].
        size: Size of the subset.
        max_per_group: Maximum number of examples of one text; None for no limit.
        group_by: Text that ``max_per_group`` counts; one of ``GROUPINGS``.
        match: Confounder held fixed by stratified quotas; one of ``MATCHES``.
        quality: Column of scores for ``match=quality``.
        universe: Strategy whose universe is drawn from; None for the run's strategy.
        universe_share: Share of the instruction groups kept, sampled by ``seed.ladder``.
        response_tokens: Minimum and maximum response length in the model's tokens; None for all.
        sources: Sources to keep; None for all.
    """

    selector: Selector
    level: float
    size: SizeSpec
    max_per_group: int | None
    group_by: str
    match: str
    quality: str | None
    universe: StrategySpec | None
    universe_share: float
    response_tokens: Sequence[int] | None
    sources: Sequence[str] | None

    def __post_init__(self) -> None:
        check_range("diversity_level", self.level, least=0, most=1)
        check_range("selection.max_per_group", self.max_per_group, least=1, whole=True, optional=True)
        check_one_of("selection.group_by", self.group_by, GROUPINGS)
        check_one_of("selection.match", self.match, MATCHES)
        if "quality" in self.match and self.quality is None:
            raise SftdivError(
                f"selection.match={self.match} needs the name of a numeric column: selection.quality=COLUMN "
                "corpus.columns=[COLUMN]"
            )
        check_range("selection.universe_share", self.universe_share, above=0, most=1)
        band = self.response_tokens
        if band is not None and not (isinstance(band, (list, tuple)) and len(band) == 2 and 0 <= band[0] <= band[1]):
            raise SftdivError(
                f"selection.response_tokens={shown_value(band)} must be [low, high], two token counts, low first"
            )
        if self.sources is not None and not isinstance(self.sources, (list, tuple)):
            raise SftdivError(f"selection.sources={self.sources} must be a list: selection.sources=[{self.sources}]")

    @property
    def universe_name(self) -> str:
        """Name of the strategy whose universe is drawn from, ``own`` for the run's strategy."""
        return "own" if self.universe is None else self.universe.name

    def normalized(self, side: Side) -> SelectionSpec:
        """The same selection, with the settings that have no effect at one value.

        Where the whole universe is selected, these are the level, the strata and the token budget; where nothing is
        selected, all but the size.

        Args:
            side: Side of the strategy, which then has no effect but through ``group_by=side``.
        """
        if self.size.chooses:
            return self
        shared = replace(self, level=1.0, match="none", quality=None, size=SizeSpec(n=self.size.n, label_tokens=None))
        if self.size.everything:
            return replace(shared, group_by=side if self.group_by == "side" else self.group_by)
        nothing: dict[str, Any] = dict.fromkeys(("universe", "response_tokens", "sources", "max_per_group"))
        return replace(shared, universe_share=1.0, **nothing)

    def identity(self) -> dict[str, Any]:
        """All fields but what has no effect: the order of sources, what an absent limit counts, an idle selector."""
        sources = None if self.sources is None else sorted({str(source) for source in self.sources})
        selector: Any = identity_of(self.selector)
        if not self.size.chooses and isinstance(selector, dict):
            selector = {name: selector[name] for name in ("kind", "class") if name in selector}
        if self.size.nothing:
            selector = None
        changed = {
            "sources": sources,
            "selector": selector,
            "group_by": self.group_by if self.max_per_group is not None else None,
            "match": match_identity(self.match),
            "quality": self.quality if "quality" in self.match else None,
        }
        return settings_identity(self) | changed
