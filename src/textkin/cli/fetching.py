"""Models for commands: weights that have to be fetched are fetched with a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from textkin._progress import stderr_is_terminal
from textkin.cli.output import talk
from textkin.cli.visible import safe
from textkin.errors import ModelMismatchError, StoreNotFoundError
from textkin.stores.foreign import ForeignStore
from textkin.stores.resolve import may_be_foreign, open_store

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.models.embedding_model import EmbeddingModel
    from textkin.models.resolve import Precision
    from textkin.models.spending import Budget, Spend

FetchProgress = Callable[[str, int, "int | None"], None]


@contextmanager
def fetch_bar() -> Iterator[FetchProgress]:
    """Progress of a download on stderr, with what it is, bytes, rate and ETA; shows nothing until it is called.

    On a terminal a bar; elsewhere one line for what may take minutes.
    """
    if not stderr_is_terminal():
        yield _plain()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    task = shown.add_task("", total=None)

    def update(what: str, done: int, total: int | None) -> None:
        shown.start()
        shown.update(task, description=safe(what).replace("[", r"\["), completed=done, total=total)

    try:
        yield update
    finally:
        shown.stop()


def load_with_bar(
    name: str | None,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int | None = None,
    base_url: str | None = None,
    batch_tokens: int | None = None,
) -> EmbeddingModel:
    """`textkin.load_model`; None is the default model."""
    from textkin.models.resolve import DEFAULT_MODEL, load_model

    with fetch_bar() as progress:
        return load_model(
            name or DEFAULT_MODEL,
            device=device,
            precision=precision,
            threads=threads,
            progress=progress,
            base_url=base_url,
            batch_tokens=batch_tokens,
        )


def begin(spend: Spend, model: str | None) -> None:
    """Refuse a budget that can't be kept before a hosted model is asked for anything, its dimensions included."""
    from textkin.models.providers.names import is_hosted

    if model is not None and is_hosted(model):
        spend.begin(model)


def open_for_reading(
    place: str,
    model: str | None = None,
    base_url: str | None = None,
    budget: Budget | None = None,
    *,
    ledger: bool = True,
) -> Collection:
    """Open a collection that is there; ``model`` is for one that another tool made.

    Raises:
        ModelMismatchError: ``model`` is not the one that made the collection's vectors.
        TextkinError: as `Collection` and `load_model`.
    """
    from textkin.collection import Collection

    if model is not None:
        ensure_weights(model)
    return Collection(place, model, create=False, ledger=ledger, base_url=base_url, budget=budget)


def open_for_writing(
    place: str,
    model: str | None,
    *,
    ledger: bool = True,
    device: str = "cpu",
    precision: Precision | None = None,
    threads: int | None = None,
    budget: Budget | None = None,
    base_url: str | None = None,
) -> Collection:
    """Open or make a collection, with its model's weights fetched: not one byte for a model it would refuse.

    Raises:
        ModelMismatchError: ``model`` is not the one that made the collection's vectors.
        ReadOnlyError: another tool made the collection.
        TextkinError: as `Collection` and `load_model`.
    """
    from textkin.collection import Collection

    if model is not None or may_be_foreign(place):
        refuse_in_vain(place, model)
    if model is not None:
        ensure_weights(model)
    collection = Collection(
        place,
        model,
        ledger=ledger,
        device=device,
        precision=precision,
        threads=threads,
        budget=budget,
        base_url=base_url,
    )
    try:
        if model is None:
            ensure_model_of(collection)
    except BaseException:
        collection.close()
        raise
    return collection


def refuse_in_vain(place: str, model: str | None) -> None:
    """Refuse before anything is fetched what can't be written anyway.

    Raises:
        ModelMismatchError: names alone tell that the collection was built with another model.
        ReadOnlyError: another tool made it.
    """
    try:
        with closing(open_store(place, create=False, read_only=True)) as standing:
            if isinstance(standing, ForeignStore):
                standing.writing("index")
            header = standing.header
            built = None if header is None or not standing.count() else header.model
    except StoreNotFoundError:
        return
    if model is None or built is None or built.details.get("kind") == "object":
        return
    known, asked = _known(built.name), _known(model)
    if None not in (known, asked) and known != asked:
        raise ModelMismatchError(
            f"{place} was built with {built.name} ({built.dimensions} dimensions), not {model}. Their "
            "vectors can't be compared. Leave out --model, or index into a new collection."
        )


def ensure_weights(name: str | None) -> None:
    """Fetch a model's weights where they are missing, with a bar; None is the default model.

    Raises:
        ModelError: as `load_model`.
    """
    from textkin.models.resolve import DEFAULT_MODEL, weights_name

    wanted = weights_name(name or DEFAULT_MODEL)
    if wanted is None:
        return
    from textkin.models.weights import fetch

    with fetch_bar() as progress:
        fetch(wanted, progress)


def ensure_model_of(collection: Collection) -> None:
    """`ensure_weights` for the model that made a collection's vectors; the default model for a new one."""
    known = collection.info().model
    if known is None:
        ensure_weights(None)
    elif known.details.get("kind") != "object":
        ensure_weights(known.name)


def _known(name: str) -> str | None:
    """The one way to write a name that can mean one model only; None for folders and other repositories."""
    from textkin.models import catalog

    kind, _, dimensions = name.partition(":")
    if kind == "hashing":
        return f"hashing:{dimensions or 256}"
    entry = catalog.find(name)
    return None if entry is None else entry.name


def _plain() -> FetchProgress:
    told: set[str] = set()

    def update(what: str, _done: int, _total: int | None) -> None:
        if what.endswith("...") and what not in told:
            told.add(what)
            talk(what)

    return update
