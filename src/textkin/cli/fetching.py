"""Models for commands: weights that have to be fetched are fetched with a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from textkin._progress import stderr_is_terminal
from textkin.cli.output import talk
from textkin.cli.visible import safe
from textkin.errors import StoreNotFoundError
from textkin.stores.foreign import ForeignStore
from textkin.stores.resolve import may_be_foreign, open_store, without_password

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
        refuse_in_vain(place, model, reading=True)
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


def refuse_in_vain(place: str, model: str | None, *, reading: bool = False) -> None:
    """Refuse before anything is fetched what can't be done anyway.

    Args:
        place: of the collection, which need not be there.
        model: that was asked for.
        reading: it shall only be read.

    Raises:
        ModelMismatchError: the name alone tells that the collection was built with another model.
        ReadOnlyError: another tool made it, and it shall be written.
    """
    from textkin.jobs.adopting import refuse_other_width
    from textkin.models.foretelling import refuse_other_name

    try:
        with closing(open_store(place, create=False, read_only=True)) as standing:
            if isinstance(standing, ForeignStore):
                if not reading:
                    standing.writing("index")
                refuse_other_width(standing, model)
                return
            header = standing.header
            if header is not None and standing.count():
                refuse_other_name(model, header.model, without_password(place), "Leave out --model")
    except StoreNotFoundError:
        return


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


def _plain() -> FetchProgress:
    told: set[str] = set()

    def update(what: str, _done: int, _total: int | None) -> None:
        if what.endswith("...") and what not in told:
            told.add(what)
            talk(what)

    return update
