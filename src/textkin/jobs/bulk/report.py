"""What a caller says of a bulk job, and what he is told: options, status, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from textkin._arguments import whole_number
from textkin.errors import InputError
from textkin.jobs.bulk.flow import Tally
from textkin.models.spending import Spent
from textkin.text.options import ReadOptions
from textkin.vectors.quantize import Kind


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How a job reads and writes.

    Attributes:
        read: how files become rows.
        columns: to keep beside the text: ``NAME``, ``NAME:TYPE`` (string, int, float, bool), ``*`` for all.
        text: whether the texts are written.
        dtype: how numbers are written: ``float32``, ``float16``, ``int8`` or ``binary``.
        dimensions: of the vectors that are written; None: the model's.
        shard_rows: rows of a file; None: 16,384, or fewer for long vectors.
        resume: go on with what is there; else the folder has to be empty.
        retry_refused: ask again for the texts that a model's provider refused in earlier runs.
        strict: end at the first row that can't be used.
        ledger: whether vectors are looked up and kept in the user's ledger; else in one of the job's own, which
            goes when the job is done.
        threads: that embed at the same time; None: as the model needs.
        rank: which of ``world`` processes this one is, from 0; they share the shards of one output.
        world: how many processes there are.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    columns: tuple[str, ...] = ()
    text: bool = True
    dtype: Kind = "float32"
    dimensions: int | None = None
    shard_rows: int | None = None
    resume: bool = False
    retry_refused: bool = False
    strict: bool = False
    ledger: bool = True
    threads: int | None = None
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        for name in ("rank", "world", "shard_rows", "dimensions", "threads"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, whole_number(given, name))
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank must be at least 0 and under world ({self.world}), not {self.rank}")
        if self.shard_rows is not None and self.shard_rows < 1:
            raise InputError(f"shard_rows must be at least 1, not {self.shard_rows}")
        if self.dimensions is not None and self.dimensions < 1:
            raise InputError(f"dimensions must be at least 1, not {self.dimensions}")
        if isinstance(self.columns, str):
            raise InputError(f"columns must be a sequence of names, such as ({self.columns!r},), not one string")
        object.__setattr__(self, "columns", tuple(self.columns))
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, not {self.threads}")


@dataclass(frozen=True, slots=True)
class Status:
    """How far a job is.

    Attributes:
        tally: what it has done.
        seconds: since it began.
        working: of these, since the first row that was not complete before.
        share: of the inputs, 0 to 1; None: not known.
        before: what ``share`` was then.
        spent: until now.
        stages: seconds by stage, all threads together.
    """

    tally: Tally
    seconds: float
    working: float
    share: float | None
    before: float
    spent: Spent
    stages: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Rows a second that this run dealt with, those of shards that were there left out."""
        return (self.tally.rows - self.tally.kept) / self.working if self.working else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None while that is not known."""
        if self.share is None or self.share <= self.before or not self.working:
            return None
        return self.working * (1 - self.share) / (self.share - self.before)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        left = self.seconds_left
        return asdict(self.tally) | {
            "seconds": round(self.seconds, 3),
            "share": None if self.share is None else round(self.share, 4),
            "rate": round(self.rate, 1),
            "seconds_left": None if left is None else round(left, 1),
            "tokens_spent": self.spent.tokens,
            "dollars": self.spent.dollars,
            "retries": self.spent.retries,
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
        }


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What a job did.

    Attributes:
        place: the output folder, or the collection.
        complete: whether all of it is there; else some of it has to be done by other processes, or later.
        stopped: whether it was asked to stop before its end.
        rows: with a vector, in the whole output.
        rejected: rows that could not be used.
        failed: rows that the model's provider refused.
        truncated: rows of which the model read only the beginning.
        duplicate_ids: rows whose id came before; only where ids come from the input.
        duplicate_ids_first: the first of these ids.
        kept: rows that were complete before this run.
        embedded: different texts that were sent to the model in this run.
        from_ledger: different texts whose vector was known.
        rejects: where rows without a vector are named; None: there is none.
        fidelity: what the form of the numbers costs; None for float32.
        model: its name.
        fingerprint: its fingerprint.
        dimensions: of the vectors that were written.
        dtype: how numbers were written.
        spent: in this run.
        stages: each stage's share of the time that all threads worked.
        seconds: that this run took.
    """

    place: str
    complete: bool
    stopped: bool
    rows: int
    rejected: int
    failed: int
    truncated: int
    duplicate_ids: int
    duplicate_ids_first: tuple[str, ...]
    kept: int
    embedded: int
    from_ledger: int
    rejects: str | None
    fidelity: Mapping[str, Any] | None
    model: str
    fingerprint: str
    dimensions: int
    dtype: str
    spent: Spent
    stages: Mapping[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
