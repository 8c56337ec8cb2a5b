"""Whether a model may write into a collection that holds records: one rule for opening it and for bulk jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from textkin.errors import ModelMismatchError
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger import Ledger, known_canaries
from textkin.ledger.recognising import still_same
from textkin.models.fingerprint import made_of_files, same_files, same_vectors
from textkin.models.foreign import ForeignModel
from textkin.types import Model, ModelInfo, StoreHeader

OPENING_CURE = "Open it without model="


def check_model(
    model: Model,
    header: StoreHeader,
    place: str,
    ledger: Callable[[], Ledger | None],
    own: Callable[[], OwnCanaries | None],
    *,
    by_name: bool,
    cure: str = OPENING_CURE,
) -> bool:
    """Refuse a model whose vectors are not those of a collection.

    Args:
        model: that was loaded.
        header: of the collection, which holds records.
        place: the collection, for the message.
        ledger: where a paid model's canaries are looked up.
        own: gives some of the collection's texts; asked only where an object is held to them.
        by_name: whether the model was loaded by its name.
        cure: what to do to keep the collection's model.

    Returns:
        Whether this is another engine of the same model, which the header does not name yet.

    Raises:
        ModelMismatchError: it is another model.
    """
    to_accept = False
    if model.info.fingerprint != header.model.fingerprint:
        to_accept = _join(model, header, place, ledger, own, by_name=by_name, cure=cure)
    elif not still_same(model, header.canaries):
        info = model.info
        raise ModelMismatchError(
            f"{place} was built with {info.name}, but under this name its server now answers with "
            f"other vectors ({info.details.get('server', 'see its settings')}): another model runs there. "
            "Start the one that was there, or index the texts into a new collection."
        )
    if isinstance(model, ForeignModel):
        _compare_own_texts(model, place, own, None)
    return to_accept


def with_digests(info: ModelInfo, header: StoreHeader) -> StoreHeader | None:
    """The header with what an older textkin didn't keep; None where nothing is to be added.

    What that textkin accepted by canaries alone is no longer.

    Args:
        info: of the model that was loaded.
        header: of the collection.
    """
    built = header.model
    if info.fingerprint != built.fingerprint or info.weights_digest is None or built.weights_digest is not None:
        return None
    known = dataclasses.replace(built, weights_digest=info.weights_digest, tokenizer_digest=info.tokenizer_digest)
    return dataclasses.replace(header, model=known, accepted=())


def new_header(model: Model, ledger: Ledger | None, *, by_name: bool) -> StoreHeader:
    """What a collection without records has to know of its model.

    Args:
        model: that was loaded.
        ledger: where a paid model's canaries are looked up and kept.
        by_name: whether the model was loaded by its name; one that was not is an object, and stays one.
    """
    info = model.info
    if not by_name:
        info = dataclasses.replace(info, details={**info.details, "kind": "object"})
    return StoreHeader(info, known_canaries(model, ledger))


def _join(
    model: Model,
    header: StoreHeader,
    place: str,
    ledger: Callable[[], Ledger | None],
    own: Callable[[], OwnCanaries | None],
    *,
    by_name: bool,
    cure: str,
) -> bool:
    """Take a model with another fingerprint for the store's where it can only be another engine of the same.

    Where both have digests of their files, these decide; then canaries say whether the engines agree. What has
    none is held to canaries: a server's model at another address, and an object, which is held to some of the
    store's own texts, too.

    Returns:
        Whether the header does not name it yet.

    Raises:
        ModelMismatchError: it is another model.
    """
    info, built = model.info, header.model
    same = same_files(info, built)
    if same is False or info.dimensions != built.dimensions:
        raise ModelMismatchError(_mismatch(place, built, info, cure))
    if same is None and by_name and made_of_files(info) and made_of_files(built):
        raise ModelMismatchError(_mismatch(place, built, info, cure))
    if info.fingerprint in header.accepted:
        return False
    if not same_vectors(known_canaries(model, ledger()), header.canaries):
        raise ModelMismatchError(_mismatch(place, built, info, cure))
    if built.details.get("kind") == "object" and not isinstance(model, ForeignModel):
        _compare_own_texts(model, place, own, ledger())
    return True


def _compare_own_texts(
    model: Model, place: str, own: Callable[[], OwnCanaries | None], ledger: Ledger | None
) -> None:
    texts = own()
    if texts is not None:
        texts.refuse_other(model, place, ledger)


def _mismatch(place: str, built: ModelInfo, given: ModelInfo, cure: str) -> str:
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
        f"Their vectors can't be compared. {cure}, or index the texts into a new collection."
    )
