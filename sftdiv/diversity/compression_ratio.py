"""Compression ratio: size of the texts over their size after compression. High is *not* diverse."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.text.string_columns import digest_order, text_digests

MOST = 256 << 20  # bytes, compressed in about 25 s
BLOCK = 1024  # texts joined at once


@metric(
    "compression_ratio",
    {"compression_ratio": "Compression ratio (DEFLATE)"},
    direction="low",
    needs="texts",
    growth="rises",
    moves_with_length=True,
    paper=["compression_ratio"],
    order=4,
)
def _measure(texts: TextSet) -> float:
    return compression_ratio(texts.texts)


def compression_ratio(texts: Sequence[str], *, most: int = MOST) -> float:
    """Bytes of the texts over their bytes after DEFLATE at level 9; about 0.1 s per megabyte.

    Shaib et al. 2024 (arXiv 2403.00553, section 3) with gzip. DEFLATE refers back 32 KiB at most,
    so that the order of the texts would matter; they are joined by newlines in the order of their
    hashes, which makes the ratio a property of the set. The stream is compressed as it is joined
    and never held whole. The ratio depends little on the size of a set that is much larger than 32
    KiB: of a larger set than ``most`` bytes only the texts that come first are compressed, a random
    sample, since hashes order them.

    Args:
        texts: The texts.
        most: Bytes after which no further block of texts is compressed.

    Returns:
        A positive number (below 1 only for a few bytes of text).
    """
    order = digest_order(text_digests(texts, len(texts)))
    stream = zlib.compressobj(9)
    before = after = 0
    for start in range(0, len(order), BLOCK):
        joined = "\n".join(texts[i] for i in order[start : start + BLOCK]).encode()
        joined = joined if start == 0 else b"\n" + joined
        before += len(joined)
        after += len(stream.compress(joined))
        if before >= most:
            break
    return before / (after + len(stream.flush()))
