"""A bulk job into a folder of Parquet files: what ``textkin embed -o OUT/`` does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from textkin._optional import require
from textkin.errors import InputError
from textkin.jobs.bulk.accounts import RunAccount
from textkin.jobs.bulk.columns import Columns
from textkin.jobs.bulk.costs import Costs
from textkin.jobs.bulk.fidelity import Fidelity
from textkin.jobs.bulk.finish import complete_markers, totals, write_manifest
from textkin.jobs.bulk.manifest import (
    MARKERS,
    NEW,
    REJECTS,
    Settings,
    read_markers,
    read_settings,
    refuse_other,
    whole,
    write_settings,
)
from textkin.jobs.bulk.parquet import ID, TEXT, VECTOR, ShardSchema
from textkin.jobs.bulk.place import Place, place_of
from textkin.jobs.bulk.ranks import begin_rank, end_rank
from textkin.jobs.bulk.registry import registered as registered_job
from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
from textkin.jobs.bulk.run import Outcome
from textkin.jobs.bulk.shards import Reject, usual_rows
from textkin.jobs.bulk.sinks import ShardSink
from textkin.jobs.bulk.work import Work, check_ledger, job_ledger, shown_inputs
from textkin.jobs.own_canaries import OwnCanaries
from textkin.ledger.budgeting import known_canaries
from textkin.ledger.recognising import recognised
from textkin.models.foreign import ForeignModel
from textkin.models.foretelling import foretold, refuse_other_name
from textkin.models.matryoshka import may_truncate
from textkin.models.resolve import DEFAULT_MODEL, load_model
from textkin.text.options import OnNote, ignore_note
from textkin.types import Model, ModelInfo, StoreHeader
from textkin.vectors.outputs import MANIFEST
from textkin.vectors.quantize import check_dimensions

_COMPARED: Final = 256


def embed_to_folder(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    model: Any = DEFAULT_MODEL,
    options: BulkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Status], None] | None = None,
    on_fidelity: Callable[[Fidelity], None] | None = None,
    on_reject: Callable[[Reject], None] | None = None,
    on_note: OnNote = ignore_note,
    stdin: BinaryIO | None = None,
) -> BulkReport:
    """Embed any number of texts into Parquet files, in constant memory.

    Killed at any moment, the same call with ``resume`` goes on: a file that is complete is kept where the rows
    that it was made from are still the same, and no text that was embedded is embedded again. The input may have
    grown or come in another order meanwhile.

    Counts on the thread's `Spend`.

    Args:
        paths: as in `read_inputs`.
        out: a folder, or a URL that fsspec knows; made when it isn't there.
        model: what makes the vectors, as `load_model` takes it.
        options: None: the usual ones.
        stop: set it to end the run after the texts in flight.
        progress: called a few times a second.
        on_fidelity: told what the form of the numbers costs, before any are written.
        on_reject: told of each row that can't be used, as it is read.
        on_note: as in `read_inputs`.
        stdin: read for ``-`` instead of the process's own.

    Raises:
        InputError: options or inputs that can't be used, or that hold no text; ``out`` holds something else.
        ModelMismatchError: it holds another model's vectors.
        StoreLockedError: another process writes there.
        StorageFullError: no room left; everything before is kept.
        TextkinError: whatever reading or embedding met; everything before is kept.
    """
    options = options or BulkOptions()
    paths = [paths] if isinstance(paths, str | Path) else paths
    place = place_of(out, str(options.rank))
    there = _found(place, options)
    if there is not None:
        _refuse_other_name(model, there, place)
    loaded = load_model(model)
    _check_output(options, loaded.info)
    check_ledger(options)
    with ExitStack() as stack:
        stack.enter_context(place.holding(f"lock-{options.rank}"))
        place.tidy()
        registered = stack.enter_context(
            registered_job(place, shown_inputs(paths), loaded.info.name, options.rank)
        )
        ledger = stack.enter_context(job_ledger(options, place, registered))
        engine = recognised(loaded, ledger).unwrap()
        account = RunAccount(place, options.rank)
        work = Work(paths, place.name, engine, options, stop, progress, registered, account)
        known = Columns.from_text(there.columns) if there is not None and there.wanted == options.columns else None
        rows = work.rows(known, exact=True, on_reject=on_reject, on_note=on_note, stdin=stdin)
        settings = _settings(engine.info, options, rows.columns)
        if there is None:
            write_settings(place, settings)
        else:
            refuse_other(place, there, settings)
            _refuse_changed_object(place, engine, settings)
        begin_rank(place, options.rank)
        header = StoreHeader(engine.info, known_canaries(engine, ledger))
        costs = Costs(place, settings, on_fidelity)
        schema = ShardSchema(
            rows.columns,
            text=options.text,
            model=engine.info,
            dimensions=settings.dimensions,
            kind=options.dtype,
        )
        published = place.read(MANIFEST) is not None
        sink = ShardSink(
            place,
            schema,
            options.dtype,
            settings.dimensions,
            costs.look_at,
            published=published,
            again=options.retry_refused,
        )
        outcome = work.run(rows, sink, ledger, settings.shard_rows, settings.seed())
        facts: Mapping[str, Any] = {}
        if not outcome.stopped:
            _refuse_nothing(outcome, place, paths)
            if end_rank(place, options.rank, options.world, outcome.digests, published=published):
                facts = write_manifest(
                    place,
                    complete_markers(place, outcome.digests),
                    settings,
                    header,
                    rows.columns,
                    inputs=shown_inputs(paths),
                    encoding=costs.known(),
                    seconds=work.seconds,
                    check_ids=options.read.id_column is not None,
                )
        registered.ended = "complete" if facts else "stopped" if outcome.stopped else "other ranks are not done"
        done = facts or totals(
            marker
            for number, digest in enumerate(outcome.digests)
            if (marker := sink.markers.get(number)) is not None and marker.digest == digest
        )
        bad = done["rejected"] + done["failed"]
        return work.report(
            outcome,
            complete=bool(facts),
            rejects=f"{place.name}/{REJECTS}" if facts and bad else None,
            fidelity=costs.known(),
            counts=done,
        )


def refuse_in_vain(out: str | Path, model: str, options: BulkOptions) -> None:
    """Refuse, before the model is fetched or asked, a job that can't go on with it; as `embed_to_folder` would.

    Raises:
        InputError: the folder can't be written to, or another option keeps it from that.
        ModelMismatchError: it holds another model's vectors, as far as names tell.
    """
    place = place_of(out, str(options.rank))
    there = _found(place, options)
    if there is not None:
        _refuse_other_name(model, there, place)


def _refuse_other_name(model: Any, there: Settings, place: Place) -> None:
    width = foretold(there.model).dimensions
    built = ModelInfo(there.model, width or there.dimensions, None, there.fingerprint)
    refuse_other_name(model, built, place.name, "Go on with that model", "write to another folder")


def _refuse_changed_object(place: Place, engine: Model, settings: Settings) -> None:
    """Hold an object to some of the texts and vectors that an earlier run has written, where these can tell.

    Raises:
        ModelMismatchError: it gives other vectors now.
    """
    plain = settings.dimensions == engine.info.dimensions and settings.dtype in ("float32", "float16")
    if not isinstance(engine, ForeignModel) or not settings.text or not plain:
        return
    intact = (marker for marker in read_markers(place) if marker.file is not None and whole(place, marker))
    written = next((marker.file for marker in intact), None)
    if written is None:
        return
    parquet = require("pyarrow.parquet", extra="bulk")
    with place.open(f"{NEW}/{written}" if written in place.sizes(NEW) else written) as source:
        rows = next(parquet.ParquetFile(source).iter_batches(_COMPARED, columns=[ID, TEXT, VECTOR]))
    numbers = rows.column(VECTOR).flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors = numbers.reshape(rows.num_rows, -1)
    ids, texts = rows.column(ID).to_pylist(), rows.column(TEXT).to_pylist()
    OwnCanaries.among(ids, texts, vectors).refuse_other(engine, place.name)


def _check_output(options: BulkOptions, info: ModelInfo) -> None:
    width = options.dimensions or info.dimensions
    if width > info.dimensions:
        raise InputError(f"{info.name} makes vectors of {info.dimensions} numbers, so none of {width}")
    check_dimensions(options.dtype, width)
    if width != info.dimensions:
        reason = may_truncate(info.name, width)
        if reason is not None:
            raise InputError(reason)


def _settings(info: ModelInfo, options: BulkOptions, columns: Columns) -> Settings:
    return Settings(
        model=info.name,
        fingerprint=info.fingerprint,
        dimensions=options.dimensions or info.dimensions,
        dtype=options.dtype,
        wanted=options.columns,
        columns=columns.to_text(),
        text_columns=options.read.text_columns,
        id_column=options.read.id_column,
        text=options.text,
        shard_rows=options.shard_rows or usual_rows(info.dimensions),
        world=options.world,
    )


def _found(place: Place, options: BulkOptions) -> Settings | None:
    """The settings of the job that is there.

    Raises:
        InputError: it may not be gone on with, or something else is there.
    """
    resume = options.resume
    names = place.sizes()
    there = read_settings(place)
    begun = bool(place.sizes(MARKERS))
    if not resume and MANIFEST in names:
        raise InputError(
            f"{place.name} holds the output of a job that is complete; add --resume to bring it up to date "
            "with its inputs, or name another folder"
        )
    if not resume and options.world > 1:
        resume = True  # another rank has begun it
    if not resume and begun:
        raise InputError(
            f"{place.name} holds a job that was begun; add --resume to go on with it, or name another folder"
        )
    if there is not None:
        return there if resume else None
    others = [name for name in names if not name.startswith(".")]
    if "writer.lock" in others or "collection.db" in others:
        raise InputError(f"{place.name} is a collection; to stream into it, name it with --to instead of -o")
    if others and not begun:
        raise InputError(
            f"{place.name} is not empty ({others[0]} is there) and holds no job; name an empty or a new folder"
        )
    return None


def _refuse_nothing(outcome: Outcome, place: Place, paths: Sequence[str | Path]) -> None:
    """An input without a text is more likely one that isn't there now than the wish for an empty output.

    Raises:
        InputError: nothing was read.
    """
    named = ", ".join(shown_inputs(paths)) or "no input"
    if not outcome.digests:
        raise InputError(f"no text was found in {named}, so {place.name} stays as it is")
