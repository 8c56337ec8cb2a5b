"""A bulk job from its inputs to its end: what ``textkin embed -o OUT/`` and ``--to COLLECTION`` do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from textkin._stages import StageClock, shares
from textkin.errors import InputError
from textkin.jobs.bulk import registry
from textkin.jobs.bulk.columns import Columns, parse_wanted
from textkin.jobs.bulk.costs import Costs
from textkin.jobs.bulk.fidelity import Fidelity
from textkin.jobs.bulk.finish import complete_markers, write_manifest
from textkin.jobs.bulk.flow import Tally
from textkin.jobs.bulk.ids import seen_ids
from textkin.jobs.bulk.manifest import (
    REJECTS,
    Settings,
    read_settings,
    refuse_other,
    write_settings,
)
from textkin.jobs.bulk.pace import Pace
from textkin.jobs.bulk.parquet import ShardSchema
from textkin.jobs.bulk.place import WORK, LocalPlace, Place, place_of
from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
from textkin.jobs.bulk.rows import RowReader
from textkin.jobs.bulk.run import Outcome, run
from textkin.jobs.bulk.shards import Shard, cut, usual_rows
from textkin.jobs.bulk.sinks import ShardSink, Sink, StoreSink, write_rejects
from textkin.ledger import Ledger
from textkin.ledger.budgeting import known_canaries
from textkin.ledger.recognising import recognised
from textkin.models.matryoshka import may_truncate
from textkin.models.providers.hosted import price_of
from textkin.models.resolve import DEFAULT_MODEL, load_model
from textkin.models.spending import Spend, current_spend
from textkin.stores.resolve import open_store
from textkin.text.urls import is_url, parse_url
from textkin.types import Model, ModelInfo, PartwiseModel, StoreHeader
from textkin.vectors.outputs import MANIFEST
from textkin.vectors.quantize import check_dimensions

_OWN_LEDGER_BYTES: Final = 1_000_000_000
_PROVIDER_CHUNK: Final = 8192
_TOLD_EVERY: Final = 2.0


def embed_to_folder(
    paths: Sequence[str | Path],
    out: str | Path,
    model: Any = DEFAULT_MODEL,
    options: BulkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Status], None] | None = None,
    on_fidelity: Callable[[Fidelity], None] | None = None,
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
        stdin: read for ``-`` instead of the process's own.

    Raises:
        InputError: options or inputs that can't be used; ``out`` holds something else.
        ModelMismatchError: it holds another model's vectors.
        StoreLockedError: another process writes there.
        StorageFullError: no room left; everything before is kept.
        TextkinError: whatever reading or embedding met; everything before is kept.
    """
    options = options or BulkOptions()
    place = place_of(out, str(options.rank))
    there = _found(place, options.resume)
    loaded = load_model(model)
    _check_output(options, loaded.info)
    with ExitStack() as stack:
        stack.enter_context(place.holding(f"lock-{options.rank}"))
        place.tidy()
        registered = stack.enter_context(registry.registered(place, shown_inputs(paths), loaded.info.name))
        ledger = stack.enter_context(_ledger(options, place, registered))
        engine = recognised(loaded, ledger).unwrap()
        job = _Job(paths, place.name, engine, options, stop, progress, registered)
        known = Columns.from_text(there.columns) if there is not None else None
        rows = job.rows(known, exact=True, stdin=stdin)
        settings = _settings(engine.info, options, rows.columns)
        if there is None:
            write_settings(place, settings)
        else:
            refuse_other(place, there, settings)
        header = StoreHeader(engine.info, known_canaries(engine, ledger))
        costs = Costs(place, settings, on_fidelity)
        schema = ShardSchema(
            rows.columns,
            text=options.text,
            model=engine.info,
            dimensions=settings.dimensions,
            kind=options.dtype,
        )
        sink = ShardSink(place, schema, options.dtype, settings.dimensions, costs.look_at)
        outcome = job.run(rows, sink, ledger, settings.shard_rows)
        markers = None if outcome.stopped else complete_markers(place, outcome.digests)
        facts: Mapping[str, Any] = {}
        if markers is not None:
            facts = write_manifest(
                place,
                markers,
                settings,
                header,
                rows.columns,
                inputs=shown_inputs(paths),
                encoding=costs.known(),
                dollars=job.dollars,
                seconds=job.seconds,
                check_ids=options.read.id_column is not None,
            )
        registered.ended = "complete" if facts else "stopped" if outcome.stopped else "other ranks are not done"
        done = facts or _so_far(sink)
        bad = done["rejected"] + done["failed"]
        return job.report(
            outcome,
            complete=bool(facts),
            rejects=f"{place.name}/{REJECTS}" if facts and bad else None,
            fidelity=costs.known(),
            counts=done,
        )


def embed_to_store(
    paths: Sequence[str | Path],
    target: str | Path,
    model: Any = DEFAULT_MODEL,
    options: BulkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Status], None] | None = None,
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
    if options.dtype != "float32" or options.dimensions is not None or not options.text or options.world > 1:
        raise InputError(
            "a collection holds the model's own vectors with their texts: leave out dtype, dimensions, "
            "text=False and world"
        )
    with ExitStack() as stack:
        store = open_store(target, create=True)
        stack.callback(store.close)
        place = LocalPlace(registry.folder_of(store.url))
        loaded = load_model(model)
        registered = stack.enter_context(registry.registered(store.url, shown_inputs(paths), loaded.info.name))
        ledger = stack.enter_context(_ledger(options, place, registered))
        engine = recognised(loaded, ledger).unwrap()
        job = _Job(paths, store.url, engine, options, stop, progress, registered)
        rows = job.rows(None, exact=False, stdin=stdin)
        store.write_header(StoreHeader(engine.info, known_canaries(engine, ledger)))
        path = place.folder / REJECTS
        file = stack.enter_context(path.open("wb"))
        seen = None if options.read.id_column is None else stack.enter_context(seen_ids(place.folder))
        sink = StoreSink(store, rows.columns.names, lambda rejects: write_rejects(file, rejects), seen)
        outcome = job.run(rows, sink, ledger, options.shard_rows or usual_rows(engine.info.dimensions))
        registered.ended = "stopped" if outcome.stopped else "complete"
        bad = sink.rejected
        return job.report(
            outcome,
            complete=not outcome.stopped,
            rejects=str(path) if bad else None,
            fidelity=None,
            counts={
                "rows": sink.rows + sink.unchanged,
                "rejected": bad - sink.failed,
                "failed": sink.failed,
                "truncated": sink.truncated,
                "duplicate_ids": 0 if seen is None else seen.repeated()[0],
            },
        )


class _Job:
    """What both kinds of output have in common."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        name: str,
        model: Model,
        options: BulkOptions,
        stop: threading.Event | None,
        progress: Callable[[Status], None] | None,
        registered: registry.Registered,
    ) -> None:
        self._paths = paths
        self._name = name
        self._model = model
        self._options = options
        self._stop = stop or threading.Event()
        self._progress = progress
        self._spend: Spend = current_spend()
        self._clock = StageClock()
        self._start = time.monotonic()
        self._registered = registered
        self._kept = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def rows(self, known: Columns | None, *, exact: bool, stdin: BinaryIO | None) -> RowReader:
        options = self._options
        return RowReader(
            self._paths,
            options.read,
            parse_wanted(options.columns),
            known,
            exact=exact,
            strict=options.strict,
            stdin=stdin,
        )

    def run(self, rows: RowReader, sink: Sink, ledger: Ledger, size: int) -> Outcome:
        options = self._options
        partwise = isinstance(self._model, PartwiseModel)
        threads = options.threads or 2
        pace = Pace(threads, _PROVIDER_CHUNK if partwise else 512, fixed=partwise)
        return run(
            _placed(rows, size),
            self._model,
            ledger,
            sink,
            pace=pace,
            spend=self._spend,
            clock=self._clock,
            stop=self._stop,
            progress=self._told,
            mine=lambda number: number % options.world == options.rank,
            ahead=3 + pace.in_flight * pace.most // size,
        )

    def dollars(self, tokens: int) -> float | None:
        info = self._model.info
        if info.details.get("kind") != "provider":
            return 0.0
        price = self._spend.budget.price
        price = price_of(info.name) if price is None else price
        return None if price is None else price * tokens / 1e6

    def report(
        self,
        outcome: Outcome,
        *,
        complete: bool,
        rejects: str | None,
        fidelity: Mapping[str, Any] | None,
        counts: Mapping[str, Any],
    ) -> BulkReport:
        info = self._model.info
        self._kept = 0.0
        self._told(outcome.tally)
        return BulkReport(
            place=self._name,
            complete=complete,
            stopped=outcome.stopped,
            rows=counts["rows"],
            rejected=counts["rejected"],
            failed=counts["failed"],
            truncated=counts["truncated"],
            duplicate_ids=counts.get("duplicate_ids", 0),
            duplicate_ids_first=tuple(counts.get("duplicate_ids_first", ())),
            kept=outcome.tally.kept,
            embedded=outcome.tally.embedded,
            from_ledger=outcome.tally.from_ledger,
            rejects=rejects,
            fidelity=fidelity,
            model=info.name,
            fingerprint=info.fingerprint,
            dimensions=self._options.dimensions or info.dimensions,
            dtype=self._options.dtype,
            spent=self._spend.spent(),
            stages={name: round(share, 4) for name, share in shares(self._clock.seconds()).items()},
            seconds=self.seconds,
        )

    def _told(self, tally: Tally) -> None:
        share = None
        if tally.position is not None and tally.position[1]:
            share = min(1.0, tally.position[0] / tally.position[1])
        status = Status(tally, self.seconds, share, self._spend.spent(), self._clock.seconds())
        if self._progress is not None:
            self._progress(status)
        if time.monotonic() - self._kept >= _TOLD_EVERY:
            self._kept = time.monotonic()
            self._registered.tell(status.to_dict())


def shown_inputs(paths: Sequence[str | Path]) -> list[str]:
    """Inputs as manifests and lists show them: a URL without what would let others in."""
    return [parse_url(str(path)).shown if is_url(path) else str(path) for path in paths]


def _placed(rows: RowReader, size: int) -> Iterator[Shard]:
    for shard in cut(rows, size):
        shard.position = rows.position
        yield shard


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
        columns=columns.to_text(),
        text=options.text,
        shard_rows=options.shard_rows or usual_rows(info.dimensions),
        world=options.world,
    )


def _found(place: Place, resume: bool) -> Settings | None:
    """The settings of the job that is there.

    Raises:
        InputError: it may not be gone on with, or something else is there.
    """
    there = read_settings(place)
    if there is not None:
        if not resume and place.read(MANIFEST) is not None:
            raise InputError(
                f"{place.name} holds the output of a job that is complete; add --resume to bring it up to date "
                "with its inputs, or name another folder"
            )
        if not resume and place.sizes(f"{WORK}/shards"):
            raise InputError(
                f"{place.name} holds a job that was begun; add --resume to go on with it, or name another folder"
            )
        return there if resume else None
    others = [name for name in place.sizes() if not name.startswith(".")]
    if others:
        raise InputError(
            f"{place.name} is not empty ({others[0]} is there) and holds no job; name an empty or a new folder"
        )
    return None


@contextmanager
def _ledger(options: BulkOptions, place: Place, registered: registry.Registered) -> Iterator[Ledger]:
    """The user's ledger; or the job's own, which is bounded, and goes when the job has come to its end."""
    if options.ledger:
        with Ledger() as ledger:
            yield ledger
        return
    home = place.folder if isinstance(place, LocalPlace) else registry.folder_of(place.name)
    path = home / WORK / f"ledger-{options.rank}.db"
    with Ledger(path) as ledger:
        ledger.limit(_OWN_LEDGER_BYTES)
        yield ledger
    if registered.ended != "stopped":
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink(missing_ok=True)


def _so_far(sink: ShardSink) -> dict[str, int]:
    names = ("rows", "rejected", "failed", "truncated")
    return {name: sum(getattr(marker, name) for marker in sink.markers.values()) for name in names}
