"""Reads the synthetic corpus: the samples of one world, with their known topic, tags, skill and style as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftdiv.records import Example
from sftdiv.storage.hashing import settings_identity

if TYPE_CHECKING:
    from sftdiv.data.synthetic.world import World


@dataclass(frozen=True, kw_only=True)
class SyntheticReader:
    """Reads the samples of ``world``."""

    world: World

    def identity(self) -> Mapping[str, Any]:
        """The world's settings and the version of its generator."""
        return {"kind": "synthetic", **settings_identity(self)}

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every sample; none is ever rejected."""
        return self.world.samples()
