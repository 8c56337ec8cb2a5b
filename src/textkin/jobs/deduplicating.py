"""Near-duplicates of a store: what it remembers of earlier runs, calibrating it, removing what goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from textkin._places import cache_folder
from textkin.duplicates.approximate import approximate_join
from textkin.duplicates.calibrate import calibrate
from textkin.duplicates.calibration import FILE as CALIBRATION_FILE
from textkin.duplicates.calibration import Calibration, load_calibration
from textkin.duplicates.choice import MIN_PRECISION, MIN_SCORE
from textkin.duplicates.groups import DuplicateReport
from textkin.duplicates.incremental import remembering_join
from textkin.duplicates.labels import EmbedTexts, LabelledPair, label_scores
from textkin.duplicates.remembered import FILE as JOIN_FILE
from textkin.duplicates.remembered import JoinMemory
from textkin.duplicates.work import Join, exact_join
from textkin.errors import InputError, StoreError
from textkin.jobs.embedding import embed_records, record_vectors
from textkin.ledger import Ledger
from textkin.stores.local import LocalStore
from textkin.text.digest import text_digest, well_formed
from textkin.types import Matrix, Model, Progress, Record, Store

Threshold: TypeAlias = float | Literal["auto"]

_GROWN = 0.1
"""Share by which the number of records may have changed since a calibration that is still used."""


def join_for(store: Store, *, whole: bool, approximate_above: int | None) -> Join:
    """The way to join a store's records.

    Args:
        store: with a header.
        whole: all of its records are joined, so that the result is worth remembering.
        approximate_above: None is always exact.
    """
    header = store.header
    join: Join = exact_join
    if header is not None:
        memory = JoinMemory(_derived(store) / JOIN_FILE, header.model.fingerprint, whole and not _read_only(store))
        join = remembering_join(memory)
    return join if approximate_above is None else approximate_join(approximate_above, join)


def saved_calibration(store: Store) -> Calibration | None:
    """What was found for this store and its model, if it is kept."""
    header = store.header
    return (
        None if header is None else load_calibration(_derived(store) / CALIBRATION_FILE, header.model.fingerprint)
    )


def calibrate_store(
    store: Store,
    records: Sequence[Record],
    vectors: npt.NDArray[np.float32],
    embed: EmbedTexts | None,
    *,
    labels: Sequence[LabelledPair] | None = None,
    copies: int,
    min_precision: float = MIN_PRECISION,
    min_score: float = MIN_SCORE,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate on all records of a store, and keep the result; arguments as in `calibrate_records`."""
    header = store.header
    if header is None:
        raise InputError(f"{store.url} is empty; add texts first: textkin index PATH --to {store.url}")
    found = calibrate_records(
        records,
        vectors,
        embed,
        model=header.model.name,
        fingerprint=header.model.fingerprint,
        labels=labels,
        copies=copies,
        min_precision=min_precision,
        min_score=min_score,
        progress=progress,
    )
    if not _read_only(store):
        found.save(_derived(store) / CALIBRATION_FILE)
    return found


def calibrate_records(
    records: Sequence[Record],
    vectors: npt.NDArray[np.float32],
    embed: EmbedTexts | None,
    *,
    model: str,
    fingerprint: str,
    labels: Sequence[LabelledPair] | None = None,
    copies: int,
    min_precision: float = MIN_PRECISION,
    min_score: float = MIN_SCORE,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate on records; see `textkin.duplicates.calibrate.calibrate`.

    Args:
        records: all.
        vectors: one unit row a record.
        embed: the model; needed by labels that are texts; None makes no edited copies.
        model: its name.
        fingerprint: its.
        labels: pairs of ids or texts.
        copies: edited copies to embed.
        min_precision: share of the found pairs that must be true at the least.
        min_score: ``auto`` is never lower.
        progress: called with rows scored and rows in all.
    """
    ids, texts = [record.id for record in records], [record.text for record in records]
    judged = None
    if labels is not None:
        judged = label_scores(labels, ids, texts, vectors, embed or _no_model)
    return calibrate(
        texts,
        vectors,
        model=model,
        fingerprint=fingerprint,
        embed=embed,
        labels=judged,
        copies=copies,
        min_precision=min_precision,
        min_score=min_score,
        progress=progress,
    )


def still_good(found: Calibration, records: int) -> bool:
    """Whether a calibration is of about as many records as there are now, or made with labels, which don't age."""
    return found.labels is not None or abs(found.records - records) <= _GROWN * found.records


def embedder(model: Callable[[], Model], ledger: Callable[[], Ledger | None]) -> EmbedTexts:
    """A model as `calibrate` wants it: texts embedded as records are, through the ledger."""

    def embed(texts: Sequence[str]) -> tuple[Matrix, Sequence[int]]:
        records = [Record(str(place), well_formed(text)) for place, text in enumerate(texts)]
        loaded = model()
        done = embed_records(loaded, records, ledger())
        answered = [int(record.id) for record in done.records]
        vectors = np.zeros((len(texts), loaded.info.dimensions), dtype=np.float32)
        if answered:
            vectors[answered] = record_vectors(done.records, done.vectors)
        return vectors, [int(name) for name in done.failed]

    return embed


def apply_report(store: Store, report: DuplicateReport) -> int:
    """Delete a report's dropped records: all or none, and so that `undo_apply` brings them back.

    Raises:
        StoreError: the store can't promise that.
        InputError: a record of a group is gone, or its text is another one than the report was made from.
    """
    local = _local(store)
    with store.writing("duplicates --apply"):
        named = [name for one in report for name in (one.kept, *(record.id for record in one.dropped))]
        digest_of = dict(zip(report.evidence.ids, report.evidence.digests, strict=True))
        found = {record.id: text_digest(record.text) for record in store.get(named)}
        changed = next((name for name in named if found.get(name) != digest_of[name]), None)
        if changed is not None:
            raise InputError(
                f"record {changed!r} of {store.url} is gone or has another text since duplicates were found; "
                "nothing was removed: find them again"
            )
        return local.delete_undoably(report.dropped, "duplicates --apply")


def undo_apply(store: Store) -> int:
    """Bring back what `apply_report` deleted last, exactly as it was. Returns how many records.

    Raises:
        StoreError: the store keeps no undo.
        InputError: there is nothing to undo, or an id is in use again.
    """
    return _local(store).undo_delete()


def forget_applied(store: Store) -> int:
    """Drop for good what `apply_report` deleted last. Returns how many records."""
    return _local(store).forget_deleted()


def _local(store: Store) -> LocalStore:
    if isinstance(store, LocalStore):
        return store
    raise StoreError(
        f"{store.url} can't remove many records all or nothing, nor bring them back: "
        "only a collection in a folder can. "
        f"Write what stays with -o, or copy it to a folder (textkin export {store.url} COPY.kin), apply there and "
        "export it to a new place"
    )


def _derived(store: Store) -> Path:
    """Where derived files of a store lie: in its folder, or in the cache for a database."""
    if isinstance(store, LocalStore):
        return store.folder
    name = hashlib.sha256(store.location.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return cache_folder() / "stores" / name


def _read_only(store: Store) -> bool:
    return isinstance(store, LocalStore) and store.read_only


def _no_model(texts: Sequence[str]) -> tuple[Matrix, Sequence[int]]:
    raise InputError(f"{texts[0]!r} is neither the id nor the text of a record")
