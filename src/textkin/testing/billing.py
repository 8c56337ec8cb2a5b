"""What the test server was asked for and what it would have charged."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence


class Billing:
    """Counts requests, and texts and tokens of answers.

    Attributes:
        requests: that arrived, whatever became of them.
        sizes: texts of each request, in the order of arrival.
        tokens: of the texts that were answered well.
        texts: (model, input type, SHA-256 of the text) to how often it was answered well; the input type is empty
            for OpenAI. What is there more than once was paid for more than once.
        spoilt: the same for answers that were spoilt on purpose: a client can't avoid to ask for these again.
        spoilt_tokens: of the texts in such answers.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.sizes: list[int] = []
        self.tokens = 0
        self.texts: Counter[tuple[str, str, str]] = Counter()
        self.spoilt: Counter[tuple[str, str, str]] = Counter()
        self.spoilt_tokens = 0
        self._guard = threading.Lock()

    def times(self, text: str) -> int:
        """How often this text was answered well, by any model, as any input type."""
        wanted = text_digest(text)
        with self._guard:
            return sum(count for (_, _, digest), count in self.texts.items() if digest == wanted)

    @property
    def paid_twice(self) -> int:
        """Texts that were answered well more than once by the same model as the same input type."""
        with self._guard:
            return sum(count > 1 for count in self.texts.values())

    def arrived(self, texts: int) -> int:
        """Note a request of so many texts; return its number, from 1."""
        with self._guard:
            self.requests += 1
            self.sizes.append(texts)
            return self.requests

    def charge(self, model: str, input_type: str, texts: Sequence[str], tokens: int, *, spoilt: bool) -> None:
        """Note the texts of an answer."""
        keys = [(model, input_type, text_digest(text)) for text in texts]
        with self._guard:
            (self.spoilt if spoilt else self.texts).update(keys)
            if spoilt:
                self.spoilt_tokens += tokens
            else:
                self.tokens += tokens


def text_digest(text: str) -> str:
    """SHA-256 of a text, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
