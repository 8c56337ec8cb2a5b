"""Count tokens as a provider does, offline."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from textkin._optional import require

_ADDED = 4


def most_tokens(texts: Sequence[str]) -> list[int]:
    """The most tokens that each text can have by any tokenizer: one a byte, and a few at its ends."""
    return [len(text.encode("utf-8", "replace")) + _ADDED for text in texts]


class TokenCounter:
    """Counts by one of OpenAI's encodings; the vocabulary comes with the package, nothing is fetched.

    Args:
        encoding: e.g. ``cl100k_base``.

    Raises:
        MissingDependencyError: bpe-openai is not installed (``textkin[openai]``).
    """

    def __init__(self, encoding: str) -> None:
        with warnings.catch_warnings():
            # It reads its own vocabulary through a function that Python 3.11 and 3.12 call deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._encoding = require("bpe_openai", extra="openai").get_encoding(encoding)
            self._encoding.encode_ordinary("a")  # loads the vocabulary

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; what looks like a special token counts as plain text."""
        return [len(self._encoding.encode_ordinary(text)) for text in texts]
