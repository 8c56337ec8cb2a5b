"""A bulk job into a collection: what ``textkin embed --to COLLECTION`` does."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

from textkin.errors import InputError
from textkin.jobs.belonging import check_model, new_header, with_digests
from textkin.jobs.bulk.distinct import DistinctIds
from textkin.jobs.bulk.manifest import REJECTS
from textkin.jobs.bulk.place import WORK, LocalPlace
from textkin.jobs.bulk.registry import folder_of
from textkin.jobs.bulk.registry import registered as registered_job
from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
from textkin.jobs.bulk.shards import Reject, usual_rows
from textkin.jobs.bulk.sinks import StoreSink, write_rejects
from textkin.jobs.bulk.work import Work, check_ledger, job_ledger, shown_inputs
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger import Ledger
from textkin.ledger.recognising import recognised
from textkin.models.foretelling import refuse_other_name
from textkin.models.resolve import DEFAULT_MODEL, load_model
from textkin.stores.resolve import open_store
from textkin.text.options import OnNote, ignore_note
from textkin.types import Model, Store

_CURE: Final = "Go on with that model"


def embed_to_store(
    paths: str | Path | Sequence[str | Path],
    target: str | Path,
    model: Any = DEFAULT_MODEL,
    options: BulkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Status], None] | None = None,
    on_reject: Callable[[Reject], None] | None = None,
    on_note: OnNote = ignore_note,
    stdin: BinaryIO | None = None,
) -> BulkReport:
    """Embed any number of texts into a collection, one vector over the whole text of each, in constant memory.

    A record that is there with the same text and metadata is not embedded again. Rows without a vector are named
    in a file of the user's data folder; see ``rejects`` of the report.

    Args:
        target: as `Collection` takes it; made when it isn't there.

    The others and what is raised: as in `embed_to_folder`.
    """
    options = options or BulkOptions()
    paths = [paths] if isinstance(paths, str | Path) else paths
    _check(options)
    check_ledger(options)
    with ExitStack() as stack:
        store = open_store(target, create=True)
        stack.callback(store.close)
        place = LocalPlace(folder_of(store.url))
        stack.enter_context(place.holding("lock-0"))
        place.tidy()
        header = store.header if store.count() else None
        if header is not None:
            refuse_other_name(model, header.model, store.url, _CURE)
        loaded = load_model(model)
        registered = stack.enter_context(registered_job(store.url, shown_inputs(paths), loaded.info.name))
        ledger = stack.enter_context(job_ledger(options, place, registered))
        engine = recognised(loaded, ledger).unwrap()
        work = Work(paths, store.url, engine, options, stop, progress, registered)
        rows = work.rows(None, exact=False, on_reject=on_reject, on_note=on_note, stdin=stdin)
        _introduce(store, engine, ledger, by_name=loaded.by_name)
        path = place.folder / REJECTS
        file = stack.enter_context(path.open("wb"))
        ids = None
        if options.read.id_column is not None:
            ids = DistinctIds(place.folder / WORK, place.owner)
            stack.callback(ids.close)
        sink = StoreSink(store, rows.columns.names, lambda rejects: write_rejects(file, rejects), ids)
        outcome = work.run(rows, sink, ledger, options.shard_rows or usual_rows(engine.info.dimensions))
        registered.ended = "stopped" if outcome.stopped else "complete"
        return work.report(
            outcome,
            complete=not outcome.stopped,
            rejects=str(path) if sink.rejected + sink.failed else None,
            fidelity=None,
            counts={
                "rows": sink.rows + sink.unchanged,
                "rejected": sink.rejected,
                "failed": sink.failed,
                "truncated": sink.truncated,
            },
        )


def _introduce(store: Store, engine: Model, ledger: Ledger, *, by_name: bool) -> None:
    """Write what the store has to know of the model, by the rule by which a collection is opened.

    Raises:
        ModelMismatchError: it holds another model's vectors.
    """
    standing = store.header if store.count() else None
    if standing is None:
        store.write_header(new_header(engine, ledger, by_name=by_name))
    elif check_model(
        engine, standing, store.url, lambda: ledger, lambda: OwnCanaries.of(store), by_name=by_name, cure=_CURE
    ):
        accepted = (*standing.accepted, engine.info.fingerprint)
        store.write_header(dataclasses.replace(standing, accepted=accepted))
    elif (fuller := with_digests(engine.info, standing)) is not None:
        store.write_header(fuller)


def _check(options: BulkOptions) -> None:
    """Refuse what only files can have.

    Raises:
        InputError: names the option.
    """
    given = {
        "--dtype": options.dtype != "float32",
        "--dimensions": options.dimensions is not None,
        "--no-text": not options.text,
        "--world": options.world > 1,
        "--retry-refused": options.retry_refused,
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise InputError(
            f"a collection holds the model's own vectors with their texts, written by one process: {wrong[0]} "
            "goes with -o OUT/ only"
        )
