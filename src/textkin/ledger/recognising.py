"""Models that only their vectors tell: objects with ``encode``, and whatever runs behind a server's name."""

from __future__ import annotations

from contextlib import suppress

from textkin.errors import ModelMismatchError, ReadOnlyError
from textkin.ledger.database import Ledger
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.fingerprint import canary_vectors, same_vectors
from textkin.models.foreign import ForeignModel
from textkin.types import Matrix, Model


def recognised(model: EmbeddingModel, ledger: Ledger | None) -> EmbeddingModel:
    """Give an object the fingerprint under which it was introduced; introduce it when it is new.

    Only objects share one: a model that counts tokens notes in the ledger which texts were cut.
    """
    inner = model.unwrap()
    if not isinstance(inner, ForeignModel) or ledger is None:
        return model
    known = ledger.known_by_canaries(inner.canaries, tolerance=1e-5, kind="object")
    if known is None:
        with suppress(ReadOnlyError):  # who only asks needs no place in it
            ledger.remember_model(inner.info, inner.canaries)
        return model
    return EmbeddingModel(inner.with_fingerprint(known))


def still_same(model: Model, canaries: Matrix) -> bool:
    """Whether a server's model, known only by its name, gives the vector that it gave; True for other models.

    Args:
        model: one that has a ``probe`` was asked for the first canary text when it was loaded.
        canaries: ``(16, dimensions)``: its vectors of the canary texts, as they were.
    """
    probe = getattr(model, "probe", None)
    return probe is None or same_vectors(probe[None], canaries[:1])


def refuse_replaced(model: Model, ledger: Ledger) -> None:
    """Refuse a server's model that is not the one whose vectors the ledger has under its name and address.

    Raises:
        ModelMismatchError: naming the cures.
    """
    info = model.info
    known = ledger.canaries(info.fingerprint) if getattr(model, "probe", None) is not None else None
    if known is None or still_same(model, known):
        return
    if ledger.holds(info.fingerprint):
        raise ModelMismatchError(
            f"the ledger has vectors of {info.name}, but under this name its server now answers with others "
            f"({info.details.get('server', 'see its settings')}): another model runs there. Start the one "
            f"that was there, or forget its vectors: textkin ledger prune --model {info.short_fingerprint}"
        )
    ledger.remember_model(info, canary_vectors(model))
