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
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger import Ledger, known_canaries
from textkin.ledger.recognising import recognised, still_same
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.fingerprint import made_of_files, same_files, same_vectors
from textkin.models.foreign import ForeignModel
from textkin.models.foretelling import refuse_other_name
from textkin.models.providers.names import is_hosted
from textkin.models.providers.servers import on_this_machine
from textkin.models.resolve import DEFAULT_MODEL, Precision, load_model, model_reader, reader_of
from textkin.models.spending import current_spend
from textkin.stores.foreign import ForeignStore
from textkin.text.reading import AnyReader
from textkin.types import Model, ModelInfo, Store, StoreHeader, TextReader


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
            if self._loaded is not None and not self._loaded.by_name:
                info = dataclasses.replace(info, details={**info.details, "kind": "object"})
            self._store.write_header(StoreHeader(info, known_canaries(model, self._ledger())))
            self._checked = info.fingerprint
            return model
        if isinstance(model, ForeignModel) and checked is not None:
            self._compare_own_texts(model)  # it may have changed since the collection was opened
        if self._to_accept:
            self._store.write_header(dataclasses.replace(header, accepted=(*header.accepted, info.fingerprint)))
            self._to_accept = False
        elif info.fingerprint == header.model.fingerprint and same_files(info, header.model) is None:
            self._keep_digests(info, header)
        return model

    def _keep_digests(self, info: ModelInfo, header: StoreHeader) -> None:
        """Add what an older textkin didn't keep; what it accepted by canaries alone is no longer."""
        if info.weights_digest is not None and header.model.weights_digest is None:
            known = dataclasses.replace(
                header.model, weights_digest=info.weights_digest, tokenizer_digest=info.tokenizer_digest
            )
            self._store.write_header(dataclasses.replace(header, model=known, accepted=()))

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
        if model.info.fingerprint != header.model.fingerprint:
            self._join(model, header)
        elif not still_same(model, header.canaries):
            info = model.info
            raise ModelMismatchError(
                f"{self._store.url} was built with {info.name}, but under this name its server now answers with "
                f"other vectors ({info.details.get('server', 'see its settings')}): another model runs there. "
                "Start the one that was there, or index the texts into a new collection."
            )
        if isinstance(model, ForeignModel):
            self._compare_own_texts(model)
        self._checked = header.model.fingerprint

    def _join(self, model: Model, header: StoreHeader) -> None:
        """Take a model with another fingerprint for the store's where it can only be another engine of the same.

        Where both have digests of their files, these decide; then canaries say whether the engines agree. What has
        none is held to canaries: a server's model at another address, and an object, which is held to some of the
        store's own texts, too.

        Raises:
            ModelMismatchError: it is another model.
        """
        info, built = model.info, header.model
        same = same_files(info, built)
        if same is False or info.dimensions != built.dimensions:
            raise ModelMismatchError(_mismatch(self._store.url, built, info))
        by_name = self._loaded is None or self._loaded.by_name
        if same is None and by_name and made_of_files(info) and made_of_files(built):
            raise ModelMismatchError(_mismatch(self._store.url, built, info))
        if info.fingerprint in header.accepted:
            return
        if not same_vectors(known_canaries(model, self._ledger()), header.canaries):
            raise ModelMismatchError(_mismatch(self._store.url, built, info))
        if built.details.get("kind") == "object" and not isinstance(model, ForeignModel):
            self._compare_own_texts(model, self._ledger())
        self._to_accept = True

    def _compare_own_texts(self, model: Model, ledger: Ledger | None = None) -> None:
        if self._own is None:
            self._own = OwnCanaries.of(self._store)
        if self._own is not None:
            self._own.refuse_other(model, self._store.url, ledger)


def _mismatch(place: str, built: ModelInfo, given: ModelInfo) -> str:
    built_with, not_with = built.name, given.name
    if built.precision != given.precision:
        built_with, not_with = f"{built.name} ({built.precision})", f"{given.name} ({given.precision})"
    same = " under the same name, other files" if built_with == not_with else ""
    if same_files(built, given) is False:
        other = [
            what
            for what, one, two in (
                ("other weights", built.weights_digest, given.weights_digest),
                ("another tokenizer", built.tokenizer_digest, given.tokenizer_digest),
            )
            if one != two
        ]
        same = f"{same}: {' and '.join(other)}"
    return (
        f"{place} was built with {built_with} (fingerprint {built.short_fingerprint}…, {built.dimensions} "
        f"dimensions), not {not_with} ({given.short_fingerprint}…, {given.dimensions} dimensions){same}. "
        "Their vectors can't be compared. Open it without model=, or index the texts into a new collection."
    )
