"""Is this the model that made another tool's vectors? A sample of the texts is embedded again and compared."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError, ModelMismatchError, ReadOnlyError
from textkin.ledger import Ledger, LedgerResult, embed
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.fingerprint import canary_vectors
from textkin.models.foreign import ForeignModel
from textkin.models.foretelling import foretold
from textkin.stores.foreign import ForeignFacts, ForeignStore
from textkin.types import Matrix, Model, ModelInfo, Record, StoreHeader

LEAST_COSINE: Final = 0.999
"""Two engines with one model are nearer than this, half precision included; two models are far from it."""
_ONE_IN: Final = 20


class ForeignWarning(UserWarning):
    """Something in another tool's collection is not as it should be; what can be read is read."""


def require_named(store: ForeignStore, chosen: object) -> None:
    """Refuse to guess whose vectors these are.

    Raises:
        InputError: no model was named.
    """
    if chosen is None:
        raise InputError(
            f"{store.url} was made by another program and doesn't say which model its vectors are of. Name the "
            "model: --model NAME, or Collection(place, model=...); it is checked by embedding a few of the texts "
            "again. textkin only reads it: to write, name another place"
        )


def refuse_other_width(store: ForeignStore, chosen: object) -> None:
    """Refuse a model whose name alone tells that its vectors have another length, before it is fetched.

    Raises:
        ModelMismatchError: naming both lengths.
    """
    width = foretold(chosen).dimensions if isinstance(chosen, str) else None
    if width is not None:
        store.sample()  # which finds out how long its vectors are
        if store.dimensions and store.dimensions != width:
            raise _other_width(store, str(chosen), width)


def _other_width(store: ForeignStore, name: str, width: int) -> ModelMismatchError:
    return ModelMismatchError(
        f"the vectors in {store.url} have {store.dimensions} dimensions, those of {name} {width}; name the model "
        "that made them"
    )


def adopt(store: ForeignStore, model: EmbeddingModel, ledger: Ledger | None) -> None:
    """Take ``model`` for the one that made the vectors, once a sample of them agrees.

    One record in twenty may differ: its text may have changed without its vector. The sample is the same each time
    and goes through the ledger, so that it is paid once.

    Warns:
        ForeignWarning: records that were left out, that have no text, or that differ.

    Raises:
        InputError: nothing there to compare.
        ModelMismatchError: other vectors came out; says how far off.
    """
    records, stored = store.sample()
    info = model.info
    if not store.dimensions:
        left = f": {store.left_out}" if store.left_out.count else ""
        raise InputError(f"{store.url} holds no vectors{left}")
    if store.dimensions != info.dimensions:
        raise _other_width(store, info.name, info.dimensions)
    result = _embedded(model.unwrap(), [record.text for record in records], ledger)
    rows = [row for row in range(len(records)) if row not in result.failed]
    if not rows:
        why = next(iter(result.failed.values()), "none has a text")
        raise InputError(f"{store.url}: no record could be embedded to check the model ({why})")
    cosines = np.einsum("ij,ij->i", stored[rows].astype(np.float64), result.vectors[rows].astype(np.float64))
    cut = {place for place, row in enumerate(rows) if row in set(result.truncated)}
    off = np.flatnonzero(cosines < LEAST_COSINE)
    if len(off) > len(rows) // _ONE_IN:
        raise ModelMismatchError(_mismatch(store.url, info, cosines, off.tolist(), cut))
    facts = ForeignFacts(
        compared=len(rows),
        least=float(cosines.min()),
        median=float(np.median(cosines)),
        differing=tuple(_named(records[rows[place]], cosines[place]) for place in off),
        cut=len(cut),
        left_out=store.left_out,
        without_text=store.without_text,
        unread=store.unread,
    )
    if not model.by_name:
        info = dataclasses.replace(info, details={**info.details, "kind": "object"})
    store.adopt(StoreHeader(info, _canaries(model.unwrap(), ledger)), facts)
    for line in facts.lines():
        warnings.warn(f"{store.url}: {line}", ForeignWarning, stacklevel=2)


def _embedded(model: Model, texts: list[str], ledger: Ledger | None) -> LedgerResult:
    """Where the ledger can't be written, texts are embedded without it; an object is always asked itself."""
    if isinstance(model, ForeignModel):
        return embed(model, texts, "document", None)
    try:
        return embed(model, texts, "document", ledger)
    except ReadOnlyError:
        return embed(model, texts, "document", None)


def _canaries(model: Model, ledger: Ledger | None) -> Matrix:
    known = None if ledger is None else ledger.canaries(model.info.fingerprint)
    return canary_vectors(model) if known is None else known


def _named(record: Record, cosine: float) -> str:
    return f"{record.id!r} ({cosine:.4f})"


def _mismatch(place: str, info: ModelInfo, cosines: npt.NDArray[np.float64], off: list[int], cut: set[int]) -> str:
    told = (
        f"{info.name} did not make the vectors in {place}: of {len(cosines)} texts that were embedded again, "
        f"{len(off)} have a cosine under {LEAST_COSINE:g} with the stored vector (least {cosines.min():.4f}, "
        f"median {np.median(cosines):.4f}). "
    )
    if cut and set(off) <= cut:
        return told + (
            f"All of these are longer than the {info.max_tokens} tokens that it reads, and the others agree: the "
            "other tool cut or split long texts in another way. Index the texts into a new collection"
        )
    if np.median(cosines) > 0.9:
        return told + (
            "It is near: perhaps another version or precision (int8), a prompt put before the texts (such as "
            "'passage: '), other cleaning of the texts, or another limit of tokens"
        )
    return told + "Name the model that made them; the dimensions agree, but many models have the same"
