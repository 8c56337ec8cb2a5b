"""A model without weights: hashed words and letter triples. For tests, docs and dry runs, not for meaning."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from textkin.text.digest import well_formed
from textkin.text.reading import reading, unreadable
from textkin.types import Embedded, ModelInfo, Progress, Reading, Role
from textkin.vectors.similarity import normalize

_WORD = re.compile(r"\w+")


class HashingModel:
    """Deterministic vectors that rank by shared words and letters (feature hashing, Weinberger et al. 2009).

    Args:
        dimensions: length of a vector.
        max_tokens: words that it reads of one text.
    """

    def __init__(self, dimensions: int = 256, max_tokens: int = 512) -> None:
        facts = f"textkin hashing 1 {dimensions} {max_tokens}"
        self._info = ModelInfo(
            name="hashing" if dimensions == 256 else f"hashing:{dimensions}",
            dimensions=dimensions,
            max_tokens=max_tokens,
            fingerprint=hashlib.sha256(facts.encode()).hexdigest(),
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        limit = self._info.max_tokens
        rows = np.zeros((len(texts), self._info.dimensions), dtype=np.float32)
        counts = np.zeros(len(texts), dtype=np.int64)
        for number, text in enumerate(texts):
            words = _WORD.findall(well_formed(text).lower())
            counts[number] = len(words)
            self._add(rows[number], words[:limit])
            if progress is not None:
                progress(number + 1, len(texts))
        truncated = tuple(int(row) for row in np.flatnonzero(counts > limit)) if limit else ()
        vectors = np.ascontiguousarray(normalize(rows), dtype=np.float32)
        return Embedded(vectors=vectors, tokens=counts, truncated=truncated)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        return [len(_WORD.findall(well_formed(text).lower())) for text in texts]

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`: it reads words, and no signs."""
        return [reading(text, ((True, word.span()) for word in _WORD.finditer(text))) for text in texts]

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return unreadable(texts, self.readings, plain=True)

    def _add(self, row: npt.NDArray[np.float32], words: list[str]) -> None:
        # One constant feature keeps the vector of an empty text from being zero.
        features = [("", 0.01)]
        for word in words:
            features.append((word, 1.0))
            padded = f"<{word}>"
            features.extend((padded[i : i + 3], 0.3) for i in range(len(padded) - 2))
        for feature, weight in features:
            code = _code(feature)
            row[code % len(row)] += weight if code >> 63 else -weight


@lru_cache(maxsize=1 << 15)
def _code(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
