"""Models that only their vectors tell: objects with ``encode``, and whatever runs behind a server's name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import numpy as np

from textkin.errors import ModelMismatchError, ReadOnlyError
from textkin.ledger.database import Ledger
from textkin.ledger.entries import Remembered
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.fingerprint import TOLERANCE, canary_vectors, same_vectors, widest
from textkin.models.foreign import ForeignModel
from textkin.types import Matrix, Model, Role

_AT_ONCE: Final = 16
_FIRST: Final = 64
_LATER: Final = 16


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


def refuse_changed(
    model: Model, role: Role, texts: Mapping[bytes, str], known: Mapping[bytes, Remembered]
) -> None:
    """Refuse an object that gives other vectors than the ledger has under its canaries' fingerprint.

    Of what the ledger knows, the first 64 texts that an object meets are embedded again, 16 a call at most, then
    one in 16: those with the most different words.

    Args:
        model: only objects with ``encode`` are asked; the others have files, or a server's name, to tell them.
        role: of the texts.
        texts: by digest.
        known: what the ledger has of some of them.

    Raises:
        ModelMismatchError: naming the cures.
    """
    if not isinstance(model, ForeignModel):
        return
    fresh = [digest for digest in known if digest not in model.confirmed]
    most = min(_AT_ONCE, max(_FIRST - len(model.confirmed), len(fresh) // _LATER))
    chosen = [fresh[row] for row in widest([texts[digest] for digest in fresh], most)] if most > 0 else []
    if not chosen:
        return
    given = model.embed([texts[digest] for digest in chosen], role).vectors.astype(np.float64)
    stored = np.array([known[digest].vector for digest in chosen], dtype=np.float64)
    cosines = np.einsum("ij,ij->i", given, stored) if given.shape == stored.shape else np.zeros(len(chosen))
    if cosines.min() < 1 - TOLERANCE:
        info = model.info
        text = texts[chosen[int(cosines.argmin())]]
        raise ModelMismatchError(
            f"{info.name} gives another vector for {text[:60]!r} than the one that the ledger has of it (cosine "
            f"{cosines.min():.4f}), though the canary texts agree: it was changed since. Use the one that was "
            f"there, or forget its vectors: textkin ledger prune --model {info.short_fingerprint}"
        )
    model.confirmed.update(chosen)
