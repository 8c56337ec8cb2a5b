"""The model as users hold it: ``encode`` with the arguments that they type by habit, over any `Model`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import overload

from textkin._arguments import is_one, strings
from textkin._progress import bar
from textkin.errors import InputError
from textkin.types import Embedded, Matrix, Model, ModelInfo, Progress, Role, Vector


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads, so their vectors leave out the rest."""


class EmbeddingModel:
    """A loaded model.

    ``encode`` computes; it keeps nothing. Collections and ``textkin embed`` go through the ledger,
    where a text is embedded once.

    Attributes:
        by_name: whether its ``info.name`` is enough to load it again.
    """

    def __init__(self, model: Model, *, by_name: bool = False) -> None:
        self._model = model
        self.by_name = by_name

    def __repr__(self) -> str:
        info = self.info
        return f"<EmbeddingModel {info.name}, {info.dimensions} dimensions, fingerprint {info.short_fingerprint}…>"

    @property
    def info(self) -> ModelInfo:
        """Facts and fingerprint."""
        return self._model.info

    def unwrap(self) -> Model:
        """The engine behind it."""
        return self._model

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._model.info.dimensions

    def get_sentence_embedding_dimension(self) -> int:
        """Length of a vector, by the name that sentence-transformers gave it."""
        return self._model.info.dimensions

    @overload
    def encode(
        self,
        texts: str,
        *,
        role: Role = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        normalize_embeddings: bool = ...,
        convert_to_numpy: bool = ...,
        progress: Progress | None = ...,
    ) -> Vector: ...
    @overload
    def encode(
        self,
        texts: Sequence[str],
        *,
        role: Role = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        normalize_embeddings: bool = ...,
        convert_to_numpy: bool = ...,
        progress: Progress | None = ...,
    ) -> Matrix: ...
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        role: Role = "document",
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = True,
        convert_to_numpy: bool = True,
        progress: Progress | None = None,
    ) -> Matrix | Vector:
        """Turn texts into unit vectors.

        Args:
            texts: one text, or many: a list, a generator, a NumPy array of strings, a column of pandas.
            role: ``query`` for what is searched with; differs only for models trained so.
            batch_size: accepted for habit's sake. Batches are cut by tokens; it changes no vector and no speed.
            show_progress_bar: a bar on stderr.
            normalize_embeddings: rows always have length 1; False is accepted where the model itself
                gives unit rows, as the default models do.
            convert_to_numpy: only True: use ``torch.from_numpy`` on the result for a tensor.
            progress: called with (texts done, texts in all).

        Returns:
            ``(n, dimensions)`` float32, C order, in the texts' order; ``(dimensions,)`` for one text.

        Warns:
            TruncationWarning: texts were longer than ``info.max_tokens``; says how many and which.

        Raises:
            InputError: something in ``texts`` is not a str, or an option that can't be kept, or a text that the
                model's provider refuses; names the first.
            ModelError: the provider can't be used; see `textkin.errors`.
        """
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if not convert_to_numpy:
            raise InputError("encode returns NumPy arrays; for a tensor use torch.from_numpy(model.encode(texts))")
        if not normalize_embeddings and self.info.details.get("unit_rows") != "by the model":
            raise InputError(
                f"textkin keeps unit rows, and {self.info.name} does not give them by itself, so "
                "normalize_embeddings=False can't be kept; leave it out"
            )
        checked = strings(texts)
        if show_progress_bar and progress is None:
            with bar("encoding") as shown:
                embedded = self._model.embed(checked, role, shown)
        else:
            embedded = self._model.embed(checked, role, progress)
        if embedded.stopped is not None:
            raise embedded.stopped
        for row, reason in embedded.failed.items():
            raise InputError(
                f"text number {row} can't be embedded: {reason}. Leave it out, "
                "or use a Collection, which sets it aside"
            )
        _warn_truncated(embedded.truncated, len(checked), self.info)
        return embedded.vectors[0] if is_one(texts) else embedded.vectors

    def encode_query(self, texts: str | Sequence[str]) -> Matrix | Vector:
        """`encode` with ``role="query"``."""
        return self.encode(texts, role="query")

    def encode_document(self, texts: str | Sequence[str]) -> Matrix | Vector:
        """`encode` with ``role="document"``."""
        return self.encode(texts, role="document")

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """Vectors with token counts and the rows that were cut: what textkin itself calls."""
        return self._model.embed(_several(texts), role, progress)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text, special tokens included, before any cut."""
        return self._model.count_tokens(_several(texts), role)


def _warn_truncated(rows: Sequence[int], total: int, info: ModelInfo) -> None:
    """Say which of ``total`` texts were longer than the model reads; silent when none was."""
    if not rows:
        return
    named = ", ".join(str(row) for row in rows[:10]) + (", …" if len(rows) > 10 else "")
    warnings.warn(
        f"{len(rows)} of {total} texts are longer than the {info.max_tokens} tokens that {info.name} reads; "
        f"what lies behind was left out (rows {named}). A Collection splits long texts into passages instead.",
        TruncationWarning,
        stacklevel=3,
    )


def _several(texts: Sequence[str]) -> Sequence[str]:
    """Refuse one text, whose letters would be taken for texts, and what `strings` refuses."""
    if is_one(texts):
        raise InputError("expected a list of texts, not one str; give [text], or use encode")
    return strings(texts)
