"""The model of an opened collection: loaded when first needed, and never another than the one that made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from textkin.errors import InputError, ModelMismatchError
from textkin.ledger import Ledger
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.fingerprint import canary_vectors, same_vectors
from textkin.models.foreign import ForeignModel
from textkin.models.resolve import DEFAULT_MODEL, load_model
from textkin.types import Model, ModelInfo, Store, StoreHeader


class OpenedModel:
    """Loads and checks the model of one store; arguments as in `Collection`."""

    def __init__(
        self,
        store: Store,
        chosen: Any,
        ledger: Callable[[], Ledger | None],
        *,
        read_only: bool,
        device: str,
        precision: Literal["float32", "int8"] | None,
        threads: int | None,
    ) -> None:
        self._store = store
        self._chosen = chosen
        self._ledger = ledger
        self._read_only = read_only
        self._device = device
        self._precision = precision
        self._threads = threads
        self._loaded: Model | None = None

    def check_choice(self) -> None:
        """Refuse a model that isn't the store's as early as it can be told.

        A name equal to the one in the store is checked when it is loaded, so that opening stays quick.
        """
        header = self._store.header
        if header is None:
            return
        if self._precision is not None and self._precision != header.model.precision:
            raise ModelMismatchError(
                f"{self._store.url} was built with {header.model.precision} vectors, not {self._precision}; "
                "open it without precision, or index into a new collection"
            )
        if self._chosen is not None and self._chosen != header.model.name:
            self.get()

    def get(self) -> Model:
        """The model, checked against the store's header where there is one.

        Raises:
            ModelMismatchError: its vectors are not the store's.
        """
        if self._loaded is None:
            header = self._store.header
            model = self._load(header)
            if header is not None:
                self._check(model, header)
            self._loaded = model
        return self._loaded

    def for_writing(self) -> Model:
        """The model; writes the store's header when the store is new."""
        model = self.get()
        header = self._store.header
        if header is None:
            self._store.write_header(StoreHeader(model.info, canary_vectors(model)))
        return model

    def _load(self, header: StoreHeader | None) -> Model:
        chosen = self._chosen
        if chosen is None:
            if header is not None and header.model.details.get("kind") == "object":
                raise InputError(
                    f"{self._store.url} was built with an object ({header.model.name}); "
                    "open it with that object: Collection(place, model=object)"
                )
            chosen = header.model.name if header else DEFAULT_MODEL
        recorded = header.model.precision if header else "float32"
        precision = self._precision or ("int8" if recorded == "int8" else "float32")
        model = load_model(chosen, device=self._device, precision=precision, threads=self._threads)
        return self._recognised(model)

    def _recognised(self, model: EmbeddingModel) -> Model:
        """Give an object the fingerprint that the ledger knows it by."""
        inner = model.unwrap()
        ledger = self._ledger()
        if not isinstance(inner, ForeignModel) or ledger is None:
            return inner
        known = ledger.known_by_canaries(inner.canaries, tolerance=1e-5)
        if known is None:
            ledger.remember_model(inner.info, inner.canaries)
            return inner
        return inner.with_fingerprint(known)

    def _check(self, model: Model, header: StoreHeader) -> None:
        info = model.info
        if info.fingerprint == header.model.fingerprint or info.fingerprint in header.accepted:
            return
        if info.dimensions == header.model.dimensions and same_vectors(canary_vectors(model), header.canaries):
            if not self._read_only:
                accepted = (*header.accepted, info.fingerprint)
                self._store.write_header(dataclasses.replace(header, accepted=accepted))
            return
        raise ModelMismatchError(_mismatch(self._store.url, header.model, info))


def _mismatch(place: str, built: ModelInfo, given: ModelInfo) -> str:
    built_with, not_with = built.name, given.name
    if built.precision != given.precision:
        built_with, not_with = f"{built.name} ({built.precision})", f"{given.name} ({given.precision})"
    same = " under the same name, other files" if built_with == not_with else ""
    return (
        f"{place} was built with {built_with} (fingerprint {built.short_fingerprint}…, {built.dimensions} "
        f"dimensions), not {not_with} ({given.short_fingerprint}…, {given.dimensions} dimensions){same}. "
        "Their vectors can't be compared. Open it without model=, or index the texts into a new collection."
    )
