"""The rules of every store's header: canaries that fit, and never another model's beside vectors."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np

from textkin.errors import CorruptStoreError, InputError, ModelMismatchError
from textkin.types import Matrix, ModelInfo, StoreHeader


def checked_canaries(header: StoreHeader) -> Matrix:
    """The canaries as little-endian float32 in C order.

    Raises:
        InputError: they don't fit the model.
    """
    canaries = np.ascontiguousarray(header.canaries, dtype="<f4")
    if canaries.ndim != 2 or canaries.shape[1] != header.model.dimensions:
        raise InputError(
            f"the canaries of {header.model.name} must be a matrix with {header.model.dimensions} columns, "
            f"not of shape {canaries.shape}"
        )
    return canaries


def refuse_other_model(known: StoreHeader | None, header: StoreHeader, place: str) -> None:
    """Refuse a header for a store that is not empty and has another model's.

    Raises:
        ModelMismatchError: naming both.
    """
    if known is not None and known.model.fingerprint != header.model.fingerprint:
        raise ModelMismatchError(
            f"{place} holds vectors of {known.model.name} (fingerprint {known.model.short_fingerprint}…), not of "
            f"{header.model.name} ({header.model.short_fingerprint}…); index the texts into a new collection"
        )


def header_json(header: StoreHeader) -> str:
    """A header as one ASCII JSON text."""
    return json.dumps(
        {
            "model": dataclasses.asdict(header.model),
            "canaries": base64.b64encode(checked_canaries(header).tobytes()).decode("ascii"),
            "accepted": list(header.accepted),
        },
        default=dict,
    )


def header_from_json(text: str, place: str) -> StoreHeader:
    """What `header_json` wrote.

    Raises:
        CorruptStoreError: it can't be read.
    """
    try:
        told = json.loads(text)
        model = ModelInfo(**told["model"])
        canaries = np.frombuffer(base64.b64decode(told["canaries"]), dtype="<f4").reshape(-1, model.dimensions)
        return StoreHeader(model, canaries, tuple(told["accepted"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(
            f"{place}: the header, which says whose vectors these are, can't be read ({type(error).__name__}: "
            f"{error}); restore it from a backup, or index into a new collection"
        ) from error
