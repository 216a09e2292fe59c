"""The parts of a run's specification that concern the selection: size, selectable examples and selector.

Each part validates itself on construction and has an ``identity()``: its settings that decide the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sftdiv.config.data_spec import StrategySpec
from sftdiv.protocols import Selector
from sftdiv.records import SftdivError, Side
from sftdiv.selection.group_cap import GROUPINGS
from sftdiv.selection.ladder_selector import LadderSelector
from sftdiv.selection.universe import MATCHES, match_identity
from sftdiv.storage.hashing import identity_of, settings_identity
from sftdiv.storage.validate import check_one_of, check_range, shown_value


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


# Takes the whole universe in place of a selector without levels, so that all of them share the cell of size=full.
EVERYTHING = LadderSelector(prune="support", k_min="auto", k_min_size=None, slack=1.0)


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
    def has_level(self) -> bool:
        """Whether the diversity level has an effect on what is selected."""
        return self.size.chooses and getattr(self.selector, "uses_level", True)

    @property
    def rival(self) -> str | None:
        """Name of a selector without levels, which names cells in place of strategy and level; None for a ladder."""
        if self.has_level or not self.size.chooses:
            return None
        identity: Any = identity_of(self.selector)
        return str(identity.get("kind") or type(self.selector).__name__)

    @property
    def needs_embeddings(self) -> bool:
        """Whether the selector compares embeddings."""
        return self.size.chooses and getattr(self.selector, "needs", None) == "embeddings"

    @property
    def needs_names(self) -> bool:
        """Whether the selector embeds the names of unit types."""
        return self.size.chooses and getattr(self.selector, "needs", None) == "names"

    @property
    def needs_base(self) -> bool:
        """Whether the selector reads the examples with the base model."""
        return self.size.chooses and getattr(self.selector, "needs", None) == "base"

    @property
    def universe_name(self) -> str:
        """Name of the strategy whose universe is drawn from, ``own`` for the run's strategy."""
        return "own" if self.universe is None else self.universe.name

    def normalized(self, side: Side) -> SelectionSpec:
        """The same selection, with the settings that have no effect at one value.

        Where the whole universe is selected, these are the level, the strata, the token budget and a selector without
        levels; where nothing is selected, all but the size. Such a selector makes the level one of them at any size.

        Args:
            side: Side of the strategy, which then has no effect but through ``group_by=side``.
        """
        if self.size.chooses:
            return self if self.has_level else replace(self, level=1.0)
        shared = replace(self, level=1.0, match="none", quality=None, size=SizeSpec(n=self.size.n, label_tokens=None))
        if not getattr(self.selector, "uses_level", True):
            shared = replace(shared, selector=EVERYTHING)
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
