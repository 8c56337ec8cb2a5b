"""A class for Ray Data pipelines of the user's own: each batch gets a column of vectors."""

from __future__ import annotations

from typing import Any

from textkin.errors import InputError
from textkin.models.resolve import load_model


class Embedder:
    """Adds vectors to the batches of ``ray.data.Dataset.map_batches``; the model is loaded once a worker.

    It goes through no ledger: what a crash loses is embedded again. ``textkin embed --engine ray`` keeps one.

    Args:
        model: a name, or a folder that lies at the same place on every machine.
        column: of the texts.
        to: of the vectors, ``(n, dimensions)`` float32 unit rows.
        options: further arguments of `textkin.load_model` (``device``, ``precision``, ``threads`` …).

    Raises:
        ModelError: the model can't be loaded.
    """

    def __init__(self, model: str, column: str = "text", to: str = "vector", **options: Any) -> None:
        self._model = load_model(model, **options)
        self._column = column
        self._to = to

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch (columns as NumPy arrays) with one more column.

        Raises:
            InputError: there is no such column, or something in it is no string.
        """
        if self._column not in batch:
            raise InputError(f"the batch has no column {self._column!r}; it has {', '.join(map(repr, batch))}")
        return {**batch, self._to: self._model.encode(batch[self._column].tolist())}
