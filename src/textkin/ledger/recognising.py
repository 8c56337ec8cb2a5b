"""An object with ``encode`` under the fingerprint that the ledger knows it by."""

from __future__ import annotations

from textkin.ledger.database import Ledger
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.foreign import ForeignModel


def recognised(model: EmbeddingModel, ledger: Ledger | None) -> EmbeddingModel:
    """Give an object the fingerprint under which it was introduced; introduce it when it is new.

    Only objects share one: a model that counts tokens notes in the ledger which texts were cut.
    """
    inner = model.unwrap()
    if not isinstance(inner, ForeignModel) or ledger is None:
        return model
    known = ledger.known_by_canaries(inner.canaries, tolerance=1e-5, kind="object")
    if known is None:
        ledger.remember_model(inner.info, inner.canaries)
        return model
    return EmbeddingModel(inner.with_fingerprint(known))
