"""Compression ratio: how much shorter the texts become when a general compressor may refer back. High is *not* diverse."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of all texts over their bytes after DEFLATE at level 9, as Shaib et al. 2024 (arXiv 2403.00553, section 3) with gzip.

    DEFLATE looks back 32 KiB and no further, so that the order of the texts would matter; they are joined by newlines in the order of
    their hashes, which makes the ratio a property of the set.

    Returns:
        A positive number (below 1 only for a few bytes of text).
    """
    encoded = sorted((text.encode() for text in texts), key=lambda text: hashlib.blake2b(text, digest_size=16).digest())
    joined = b"\n".join(encoded)
    return len(joined) / len(zlib.compress(joined, 9))
