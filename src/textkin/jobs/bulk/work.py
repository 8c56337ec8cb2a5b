"""What a bulk job does whatever its output is: reads, runs, tells how far it is, reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from textkin._stages import StageClock, shares
from textkin.errors import CorruptStoreError, ForeignFileError, TextkinError
from textkin.jobs.bulk.accounts import RunAccount
from textkin.jobs.bulk.columns import Columns, parse_wanted
from textkin.jobs.bulk.flow import Tally
from textkin.jobs.bulk.pace import Pace
from textkin.jobs.bulk.place import WORK, LocalPlace, Place
from textkin.jobs.bulk.registry import Registered, folder_of
from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
from textkin.jobs.bulk.rows import RowReader
from textkin.jobs.bulk.run import Outcome, run
from textkin.jobs.bulk.shards import Reject, Shard, cut
from textkin.jobs.bulk.sinks import Sink
from textkin.ledger import Ledger
from textkin.models.spending import Spend, current_spend
from textkin.text.options import OnNote
from textkin.text.urls import is_url, parse_url
from textkin.types import Model, PartwiseModel

_OWN_LEDGER_BYTES: Final = 1_000_000_000
_PROVIDER_CHUNK: Final = 8192
_TOLD_EVERY: Final = 2.0
_ACCOUNTED_EVERY: Final = 10.0


class Work:
    """One run of a job.

    Args:
        paths: of the inputs.
        name: of the output.
        model: what makes the vectors.
        options: how it reads and writes.
        stop: set to end it early.
        progress: told how far it is, a few times a second.
        registered: told too, now and then.
        account: of this run; None keeps none.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        name: str,
        model: Model,
        options: BulkOptions,
        stop: threading.Event | None,
        progress: Callable[[Status], None] | None,
        registered: Registered,
        account: RunAccount | None = None,
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
        self._account = account
        self._tally = Tally()
        self._last, self._accounted = -_TOLD_EVERY, 0.0
        self._working: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._start

    def rows(
        self,
        known: Columns | None,
        *,
        exact: bool,
        on_reject: Callable[[Reject], None] | None,
        on_note: OnNote,
        stdin: BinaryIO | None,
    ) -> RowReader:
        """The rows of the inputs."""
        options = self._options
        return RowReader(
            self._paths,
            options.read,
            parse_wanted(options.columns),
            known,
            exact=exact,
            strict=options.strict,
            on_reject=on_reject,
            on_note=on_note,
            stdin=stdin,
        )

    def run(self, rows: RowReader, sink: Sink, ledger: Ledger, size: int, seed: bytes = b"") -> Outcome:
        """Embed them into a sink, in shards of ``size`` rows."""
        options = self._options
        partwise = isinstance(self._model, PartwiseModel)
        pace = Pace(options.threads or 2, _PROVIDER_CHUNK if partwise else 512, fixed=partwise)
        try:
            return run(
                self._shards(rows, size, seed),
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
        finally:
            self._keep_account()

    def report(
        self,
        outcome: Outcome,
        *,
        complete: bool,
        rejects: str | None,
        fidelity: Mapping[str, Any] | None,
        counts: Mapping[str, Any],
    ) -> BulkReport:
        """What it did.

        Args:
            outcome: of the run.
            complete: whether all of the output is there.
            rejects: where rows without a vector are named.
            fidelity: what the form of the numbers costs.
            counts: of the whole output.
        """
        info = self._model.info
        self._last = -_TOLD_EVERY
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

    def _shards(self, rows: RowReader, size: int, seed: bytes) -> Iterator[Shard]:
        def until_stopped() -> Iterator[Any]:
            for item in rows:
                if self._stop.is_set():
                    return
                yield item

        for shard in cut(until_stopped(), size, seed):
            # One that was cut short by a stop is not the shard that the whole input gives.
            if self._stop.is_set():
                return
            shard.position = rows.position
            yield shard

    def _told(self, tally: Tally) -> None:
        self._tally = tally
        now = self.seconds
        share = None
        if tally.position is not None and tally.position[1]:
            share = min(1.0, tally.position[0] / tally.position[1])
        if self._working is None and tally.rows > tally.kept + tally.rejected:
            self._working = (now, share or 0.0)
        began, before = self._working or (now, share or 0.0)
        status = Status(tally, now, now - began, share, before, self._spend.spent(), self._clock.seconds())
        if self._progress is not None:
            self._progress(status)
        if now - self._last >= _TOLD_EVERY and (tally.rows or tally.rejected):
            self._last = now
            self._registered.tell(status.to_dict())
        if now - self._accounted >= _ACCOUNTED_EVERY:
            self._accounted = now
            self._keep_account()

    def _keep_account(self) -> None:
        """Write down what was spent; of a place that can't be written the next file will tell."""
        if self._account is not None:
            with suppress(TextkinError):
                self._account.write(self._tally, self._spend.spent())


def shown_inputs(paths: Sequence[str | Path]) -> list[str]:
    """Inputs as manifests and lists show them: a URL without what would let others in."""
    return [parse_url(str(path)).shown if is_url(path) else str(path) for path in paths]


def check_ledger(options: BulkOptions) -> None:
    """Refuse a ledger that can't keep what is made, before a job makes its place.

    Raises:
        StoreError: as `Ledger`.
    """
    if options.ledger:
        with Ledger() as ledger:
            ledger.require_writable()


@contextmanager
def job_ledger(options: BulkOptions, place: Place, registered: Registered) -> Iterator[Ledger]:
    """The user's ledger; or the job's own, which is bounded, and goes when the job has come to its end."""
    if options.ledger:
        with Ledger() as ledger:
            yield ledger
        return
    home = place.folder if isinstance(place, LocalPlace) else folder_of(place.name)
    path = home / WORK / f"ledger-{options.rank}.db"
    with _own_ledger(path) as ledger:
        ledger.limit(_OWN_LEDGER_BYTES)
        yield ledger
    if registered.ended != "stopped":
        _remove(path)


def _own_ledger(path: Path) -> Ledger:
    """Opened, or made; one that is damaged only saves work, so it is begun anew."""
    try:
        return Ledger(path)
    except (CorruptStoreError, ForeignFileError):
        _remove(path)
        return Ledger(path)


def _remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink(missing_ok=True)
