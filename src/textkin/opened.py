"""The model of an opened collection: loaded when first needed, and never another than the one that made it."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textkin.errors import InputError, ModelMismatchError
from textkin.jobs.adopting import adopt, refuse_other_width, require_named
from textkin.jobs.belonging import check_model, new_header, with_digests
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger import Ledger
from textkin.ledger.recognising import recognised
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.foreign import ForeignModel
from textkin.models.foretelling import refuse_other_name
from textkin.models.providers.names import is_hosted
from textkin.models.providers.servers import on_this_machine
from textkin.models.resolve import DEFAULT_MODEL, Precision, load_model, model_reader, reader_of
from textkin.models.spending import current_spend
from textkin.stores.foreign import ForeignStore
from textkin.text.reading import AnyReader
from textkin.types import Model, Store, StoreHeader, TextReader


class OpenedModel:
    """Loads and checks the model of one store; arguments as in `Collection`."""

    def __init__(
        self,
        store: Store,
        chosen: Any,
        ledger: Callable[[], Ledger | None],
        *,
        device: str,
        precision: Precision | None,
        threads: int | None,
        base_url: str | None = None,
    ) -> None:
        self._store = store
        self._chosen = chosen
        self._ledger = ledger
        self._device = device
        self._precision = precision
        self._threads = threads
        self._base_url = base_url
        self._loaded: EmbeddingModel | None = None
        self._lock = threading.Lock()
        self._checked: str | None = None
        self._to_accept = False
        self._reader: tuple[str, TextReader] | None = None
        self._own: OwnCanaries | None = None

    def check_choice(self) -> None:
        """Refuse a model that isn't the store's as early as it can be told.

        A name equal to the one in the store is checked when it is loaded, so that opening stays quick. Of another
        tool's collection the model must be named, and is checked here.
        """
        if isinstance(self._store, ForeignStore):
            self._adopt(self._store)
            return
        header = self._standing()
        if header is None:
            return
        if self._precision is not None and self._precision != header.model.precision:
            raise ModelMismatchError(
                f"{self._store.url} was built with {header.model.precision} vectors, not {self._precision}; "
                "open it without precision, or index into a new collection"
            )
        if self._chosen is not None and self._chosen != header.model.name:
            refuse_other_name(self._chosen, header.model, self._store.url)
            self.get()

    def get(self) -> Model:
        """The model, checked against the store's header where there are records.

        The header is looked at each time: another process may have written it since.

        Raises:
            ModelMismatchError: its vectors are not the store's.
        """
        with self._lock:
            header = self._standing()
            if self._loaded is None:
                self._loaded = self._load(header)
            model = self._loaded.unwrap()
            if header is not None and header.model.fingerprint != self._checked:
                self._check(model, header)
            return model

    def reader(self) -> TextReader:
        """What the model can read; no weights are loaded for it."""
        if self._loaded is None and not isinstance(self._chosen, (str, Path, type(None))):
            self.get()
        if self._loaded is None:
            header = self._store.header
            if header is None:
                return AnyReader()
            if self._reader is None or self._reader[0] != header.model.fingerprint:
                self._reader = (header.model.fingerprint, reader_of(header.model))
            return self._reader[1]
        return model_reader(self._loaded.unwrap())

    def for_writing(self) -> Model:
        """The model; writes what the store has to know of it. Called by who holds the writer's place."""
        checked = self._checked
        model = self.get()
        header = self._standing()
        info = model.info
        if header is None:
            by_name = self._loaded is None or self._loaded.by_name
            self._store.write_header(new_header(model, self._ledger(), by_name=by_name))
            self._checked = info.fingerprint
            return model
        if isinstance(model, ForeignModel) and checked is not None and (own := self._own_texts()) is not None:
            own.refuse_other(model, self._store.url)  # it may have changed since the collection was opened
        if self._to_accept:
            self._store.write_header(dataclasses.replace(header, accepted=(*header.accepted, info.fingerprint)))
            self._to_accept = False
        elif (fuller := with_digests(info, header)) is not None:
            self._store.write_header(fuller)
        return model

    def _adopt(self, store: ForeignStore) -> None:
        require_named(store, self._chosen)
        refuse_other_width(store, self._chosen)
        with self._lock:
            self._loaded = self._load(None)
            adopt(store, self._loaded, self._ledger())
            self._checked = self._loaded.info.fingerprint

    def _standing(self) -> StoreHeader | None:
        """The store's header; None while no record depends on it, so that an empty store takes any model."""
        header = self._store.header
        if header is not None and header.model.fingerprint != self._checked and self._store.count() == 0:
            return None
        return header

    def _load(self, header: StoreHeader | None) -> EmbeddingModel:
        chosen = self._chosen
        if chosen is None:
            if header is not None and header.model.details.get("kind") == "object":
                raise InputError(
                    f"{self._store.url} was built with an object ({header.model.name}); "
                    "open it with that object: Collection(place, model=object)"
                )
            chosen = header.model.name if header else DEFAULT_MODEL
        if isinstance(chosen, str) and is_hosted(chosen):
            current_spend().begin(chosen)  # before a model of unknown dimensions is asked for them
        recorded = header.model.precision if header else "float32"
        precision: Precision = self._precision or ("int8" if recorded == "int8" else "float32")
        model = load_model(
            chosen,
            device=self._device,
            precision=precision,
            threads=self._threads,
            base_url=self._base_url or self._remembered_server(chosen, header),
        )
        return model if model.by_name else recognised(model, self._ledger())

    def _remembered_server(self, chosen: Any, header: StoreHeader | None) -> str | None:
        """The server that the collection remembers, where no other is named.

        A collection may come from someone else: it must not make this machine send a key, or what the user
        searches for, to an address that the user never typed.
        """
        server = header.model.details.get("server") if header else None
        if (
            not isinstance(server, str)
            or not str(chosen).startswith("openai:")
            or os.environ.get("OPENAI_BASE_URL")
        ):
            return None
        if on_this_machine(server):
            return server
        raise InputError(
            f"{self._store.url} was built with {chosen} of the server {server}. Name it yourself, if you trust it "
            f"with your texts and your key: --base-url {server} (base_url=), or OPENAI_BASE_URL"
        )

    def _check(self, model: Model, header: StoreHeader) -> None:
        by_name = self._loaded is None or self._loaded.by_name
        if check_model(model, header, self._store.url, self._ledger, self._own_texts, by_name=by_name):
            self._to_accept = True
        self._checked = header.model.fingerprint

    def _own_texts(self) -> OwnCanaries | None:
        if self._own is None:
            self._own = OwnCanaries.of(self._store)
        return self._own
