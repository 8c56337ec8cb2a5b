"""What tells two models apart: a digest of the facts that change a vector, and sixteen canary texts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

from textkin.types import Matrix, Model, ModelInfo, Role

TOLERANCE = 1e-4
"""Two engines give the same vectors when every canary's cosine is at least 1 - TOLERANCE."""

CANARIES: tuple[str, ...] = (
    "The quick brown fox jumps over the lazy dog.",
    "A fast auburn fox leaps above a sleepy hound.",
    "",
    "x",
    "NEVER rebase; Always Rebase. UPPER lower MiXeD",
    "  leading,   inner\tand trailing space \n\n",
    "Ünïcödé: naïve café, Straße, ﬁ ligature, e\u0301 combining, ＡＢＣ full width",
    "今天天气很好，我们去公园散步。東京は日本の首都です。",
    "الطقس جميل اليوم، סוף טוב הכל טוב, погода хорошая",
    "🙂🚀 emoji, 3.14159, 2026-11-22, +49 170 1234567, foo_bar.baz(qux=1) -> None",
    "import numpy as np\n\ndef f(x: int) -> str:\n    return f'{x!r}'  # <b>bold</b> &amp; so on",
    # Long enough to be cut by any limit up to a few thousand tokens, and different at every place,
    # so that a model with another limit, or another way to cut, can't pass for this one.
    " ".join(f"{number} bottles of {thing} on the wall" for number, thing in enumerate(["beer", "ink"] * 400)),
    "how do refunds work?",
    "read a spreadsheet exported as text",
    "wetter morgen berlin",
    "king - man + woman",
)
"""Twelve documents, then four queries. Never change one: collections keep their vectors."""

_DOCUMENTS = 12
_WORD = re.compile(r"\w+|[^\w\s]")


def fingerprint(facts: Mapping[str, object]) -> str:
    """SHA-256 (64 hex digits) of the facts as canonical JSON: sorted keys, no white space, ASCII."""
    canonical = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def canary_vectors(model: Model) -> Matrix:
    """The vectors ``(16, dimensions)`` of the canary texts, each in its role; zero where the model refuses one."""
    rows: list[Matrix] = []
    parts: tuple[tuple[tuple[str, ...], Role], ...] = (
        (CANARIES[:_DOCUMENTS], "document"),
        (CANARIES[_DOCUMENTS:], "query"),
    )
    for texts, role in parts:
        answer = model.embed(texts, role)
        if answer.stopped is not None:
            raise answer.stopped
        rows.append(answer.vectors)
    return np.concatenate(rows)


def same_vectors(a: Matrix, b: Matrix, tolerance: float = TOLERANCE) -> bool:
    """Whether two sets of canary vectors come from the same model.

    Args:
        a: ``(16, dimensions)`` unit rows.
        b: ``(16, dimensions)`` unit rows; another shape is never the same.
        tolerance: how far a row's cosine may lie under 1. Two zero rows are the same: some models give
            one for a text without words.
    """
    if a.shape != b.shape:
        return False
    cosines = np.einsum("ij,ij->i", a.astype(np.float64), b.astype(np.float64))
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return bool((both_zero | (cosines >= 1.0 - tolerance)).all())


def same_files(a: ModelInfo, b: ModelInfo) -> bool | None:
    """Whether two models are made of the same weights and tokenizer; None where one of them can't tell.

    Where both can, this decides, whatever the canaries say: they touch a small part of a vocabulary only.
    """
    weights, tokenizers = (a.weights_digest, b.weights_digest), (a.tokenizer_digest, b.tokenizer_digest)
    if None in weights or None in tokenizers:
        return None
    return weights[0] == weights[1] and tokenizers[0] == tokenizers[1]


def made_of_files(info: ModelInfo) -> bool:
    """Whether a model has, or would have in this version, digests of its files: not an object or a provider's."""
    return info.weights_digest is not None or info.details.get("kind") not in ("object", "provider")


def widest(texts: Sequence[str], most: int) -> list[int]:
    """The texts that together have the most different words: the rows of ``most`` of them at most, best first.

    Each adds the most words to those before it; ties go to the earlier one. Once all words are there, the rest are
    the earliest others.
    """
    left = {row: frozenset(_WORD.findall(text.lower())) for row, text in enumerate(texts)}
    chosen: list[int] = []
    known: set[str] = set()
    while left and len(chosen) < most:
        row = max(left, key=lambda one: (len(left[one] - known), -one))
        known |= left.pop(row)
        chosen.append(row)
    return chosen
