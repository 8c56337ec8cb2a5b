"""Any object with ``encode(texts)`` as a model: a SentenceTransformer, a model2vec model, the user's own."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import BadVectorsError, InputError
from textkin.models.fingerprint import canary_vectors
from textkin.text.digest import well_formed
from textkin.text.reading import tokenizer_reader
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Reading, Role
from textkin.vectors.similarity import normalize

_BLOCK = 256


class ForeignModel:
    """Wraps an encoder; its fingerprint comes from the vectors that it gives the canary texts.

    ``encode_query`` and ``encode_document`` are used where the object has them, and its tokenizer and
    ``max_seq_length`` (as on a SentenceTransformer) to count tokens and to know what was cut. An
    object without them has no known limit: textkin can't tell whether it cuts long texts.

    Args:
        encoder: has ``encode(list of str)`` that returns one row a text.
        name: as it should be shown; the object's ``name`` or its class by default.

    Raises:
        InputError: there is no ``encode``.
        BadVectorsError: the canary texts did not give finite vectors of one length.

    Attributes:
        canaries: the vectors of the canary texts.
        confirmed: digests of texts for which it has given, since it was made, the vector that the ledger has.
    """

    def __init__(self, encoder: Any, name: str | None = None) -> None:
        if not callable(getattr(encoder, "encode", None)):
            raise InputError(
                f"a {type(encoder).__name__} can't be used as a model: it has no encode(texts) method; "
                "pass a model's name, a folder, or an object with encode"
            )
        self._encoder = encoder
        own_name = getattr(encoder, "name", None)
        shown = name or (own_name if isinstance(own_name, str) and own_name else type(encoder).__name__)
        limit = getattr(encoder, "max_seq_length", None)
        self._tokenizer = getattr(encoder, "tokenizer", None) if isinstance(limit, int) else None
        known_limit = limit if callable(self._tokenizer) else None
        probe = self._rows(["x"], "document")
        self._info = ModelInfo(
            name=shown,
            dimensions=int(probe.shape[1]),
            max_tokens=known_limit,
            fingerprint="",
            role_sensitive=callable(getattr(encoder, "encode_query", None)),
            details={"kind": "object"},
        )
        canaries = canary_vectors(self)
        digest = hashlib.sha256(b"textkin canaries 1" + np.round(canaries, 4).tobytes()).hexdigest()
        self._info = dataclasses.replace(self._info, fingerprint=digest)
        self.canaries: Matrix = canaries
        self.confirmed: set[bytes] = set()

    def with_fingerprint(self, fingerprint: str) -> ForeignModel:
        """The same model under the fingerprint by which it was known before.

        Noise in the last digits would otherwise give one model another fingerprint now and then.
        """
        twin = object.__new__(ForeignModel)
        twin.__dict__.update(self.__dict__)
        twin._info = dataclasses.replace(self._info, fingerprint=fingerprint)
        return twin

    @property
    def info(self) -> ModelInfo:
        return self._info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        texts = [well_formed(text) for text in texts]
        out = np.empty((len(texts), self._info.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            rows = self._rows(block, role)
            if rows.shape[1] != self._info.dimensions:
                raise BadVectorsError(
                    f"{self._info.name} gave vectors of {rows.shape[1]} dimensions, before that "
                    f"{self._info.dimensions}; one model must keep to one length"
                )
            out[start : start + len(block)] = rows
            if progress is not None:
                progress(start + len(block), len(texts))
        tokens = np.asarray(self.count_tokens(texts, role), dtype=np.int64)
        limit = self._info.max_tokens
        cut = tuple(int(row) for row in np.flatnonzero(tokens > limit)) if limit else ()
        return Embedded(vectors=out, tokens=tokens, truncated=cut)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text; 0 for every text where the object doesn't tell."""
        tokenizer = self._tokenizer
        if not callable(tokenizer) or not texts:
            return [0] * len(texts)
        encoded = tokenizer([well_formed(text) for text in texts], truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`; of a model whose tokenizer doesn't tell, as if it read everything."""
        return tokenizer_reader(self._tokenizer).readings([well_formed(text) for text in texts])

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return tokenizer_reader(self._tokenizer).unreadable([well_formed(text) for text in texts])

    def _rows(self, texts: list[str], role: Role) -> Matrix:
        by_role = getattr(self._encoder, f"encode_{role}", None)
        encode: Callable[[list[str]], Any] = by_role if callable(by_role) else self._encoder.encode
        rows = _as_array(encode(texts))
        who = type(self._encoder).__name__
        if rows.ndim != 2 or rows.shape[0] != len(texts) or rows.shape[1] == 0 or rows.dtype.kind not in "fiu":
            raise BadVectorsError(
                f"{who}.encode gave an array of shape {rows.shape} and type {rows.dtype} for {len(texts)} texts; "
                f"expected ({len(texts)}, dimensions) numbers"
            )
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            text = texts[int(np.argmin(finite))]
            raise BadVectorsError(f"{who}.encode gave NaN or infinity for the text {text[:60]!r}")
        return np.ascontiguousarray(normalize(rows), dtype=np.float32)


def _as_array(rows: Any) -> npt.NDArray[Any]:
    """Arrays, lists of arrays, and tensors on any device."""
    if isinstance(rows, (list, tuple)):
        rows = [_as_array(row) for row in rows]
    elif hasattr(rows, "detach"):
        rows = rows.detach().cpu().float().numpy()
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise BadVectorsError(f"encode gave rows of different lengths: {error}") from error
