"""The embedded world as a corpus.

In: a world. Out: its samples, with the topic, tags, skill and style that its author knows as
columns. What names the content is the world's settings and the code that writes it, so that an edit
to `sftdiv.data.synthetic` is a new corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sftdiv.data.synthetic
from sftdiv.records import Example
from sftdiv.storage.hashing import file_digest

if TYPE_CHECKING:
    from sftdiv.data.synthetic.world import World


@dataclass(frozen=True, kw_only=True)
class SyntheticReader:
    """Reads the samples of one world."""

    world: World

    def identity(self) -> Mapping[str, Any]:
        """The world's settings and a digest of each file that writes it."""
        code = sorted(path for path in Path(sftdiv.data.synthetic.__file__).parent.iterdir() if path.is_file())
        return {"world": asdict(self.world), "code": {path.name: file_digest(path) for path in code}}

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every sample; none is ever bad."""
        return self.world.samples()
