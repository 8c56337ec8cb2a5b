"""The shapes that travel between the layers: records, hits, model facts, and the three protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from textkin.errors import TextkinError
from textkin.where.conditions import Condition
from textkin.where.conditions import Metadata as Metadata
from textkin.where.conditions import MetadataValue as MetadataValue
from textkin.where.conditions import Scalar as Scalar

Matrix: TypeAlias = npt.NDArray[np.float32]
Vector: TypeAlias = npt.NDArray[np.float32]
Role: TypeAlias = Literal["document", "query"]
Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with (texts done so far, texts in all or None when that is not known yet)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A passage of a record's text: characters ``start`` to ``end`` (end excluded)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Record:
    """One text with its id and metadata.

    Attributes:
        id: unique in its collection, never empty.
        text: the whole text.
        metadata: values are str, int, float, bool or None, or lists of these.
        source: the input that it came from when it was indexed from files (an absolute path, a
            pattern or ``-``), or None when it was added by hand. Indexing the same source again
            drops the records that are no longer in it.
        spans: the passages that have a vector each, in order; one span over the whole text for a
            short text. Empty until the record has been split.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    source: str | None = None
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search.

    Attributes:
        id: the record's id.
        score: cosine similarity; higher is better.
        text: the passage that matched (the whole text when the record has one passage).
        metadata: the record's.
        span: where the passage lies in the record's text.
    """

    id: str
    score: float
    text: str
    metadata: Metadata
    span: Span


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What must be known about a model to use and to compare its vectors.

    Attributes:
        name: as people write it, e.g. ``all-MiniLM-L6-v2``.
        dimensions: length of a vector.
        max_tokens: tokens that the model reads of one text, special tokens included; None: no limit known.
        fingerprint: 64 hex digits, a digest of everything that changes a vector.
        role_sensitive: whether a query's vector differs from the same text's vector as a document.
        precision: ``float32``, ``int8``, ``float16`` or ``bfloat16``.
        details: further facts to show (pooling, licence, device …), never used for comparison.
        weights_digest: 64 hex digits, of the files of its weights; None where there are none to be had (a
            provider's model, an object), and in what an older textkin wrote.
        tokenizer_digest: the same of all files that decide how a text becomes tokens.
    """

    name: str
    dimensions: int
    max_tokens: int | None
    fingerprint: str
    role_sensitive: bool = False
    precision: str = "float32"
    details: Metadata = field(default_factory=dict)
    weights_digest: str | None = None
    tokenizer_digest: str | None = None

    @property
    def short_fingerprint(self) -> str:
        """The first eight digits, for messages."""
        return self.fingerprint[:8]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What a model returns for a list of texts.

    Attributes:
        vectors: ``(n, dimensions)`` float32, C order, unit rows, in the texts' order.
        tokens: ``(n,)`` int64: tokens of each text before any cut, special tokens included.
        truncated: rows whose text was longer than the model's limit, ascending.
        failed: row to why its text can't be embedded; the row is zero. Local models have none.
        stopped: what ended the work before its end; what was answered until then is here.
        unanswered: rows that were not reached then; they are zero too.
        billed: tokens that a model which counts on `models.spending.Spend` by itself was charged; None: one that
            doesn't, as those on this machine.
    """

    vectors: Matrix
    tokens: npt.NDArray[np.int64]
    truncated: tuple[int, ...]
    failed: Mapping[int, str] = field(default_factory=dict)
    stopped: TextkinError | None = None
    unanswered: tuple[int, ...] = ()
    billed: int | None = None


class Model(Protocol):
    """Text to vectors. The one seam between textkin and whatever makes the vectors."""

    @property
    def info(self) -> ModelInfo:
        """Facts and fingerprint; constant for the life of the object."""
        ...

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """Embed texts; order in = order out. An empty list gives a ``(0, dimensions)`` matrix."""
        ...

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text as it would be sent, special tokens included, before any cut."""
        ...


@runtime_checkable
class PartwiseModel(Model, Protocol):
    """A model whose answers come one by one, so that each can be kept as soon as it is there."""

    def embed_parts(
        self, texts: Sequence[str], role: Role = "document"
    ) -> Iterator[tuple[Sequence[int], Embedded]]:
        """Embed texts; gives rows with what came back for them, in any order, each row once at most.

        What ended the work early is in the last part's ``stopped``. An interrupt (Ctrl-C) is raised after the
        answers that were on their way.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model has tokens for in one text.

    Attributes:
        unread: the words and signs that it has none for, as they stand in the text, in order. Accents, invisible
            signs and sentence punctuation don't count.
        nothing: whether there is nothing else in the text, so that its vector tells nothing of it.
    """

    unread: tuple[str, ...]
    nothing: bool


class TextReader(Protocol):
    """Tells what a model can read."""

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """What the model has tokens for in each text."""
        ...

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """Rows of the texts in which it can read nothing, ascending; much quicker than `readings` of them all."""
        ...


@runtime_checkable
class ReadingModel(Model, TextReader, Protocol):
    """A model that tells what it can't read. One that reads any bytes, as hosted ones do, has no need to."""


@dataclass(frozen=True, slots=True)
class StoreHeader:
    """What a store keeps about the model whose vectors it holds.

    Attributes:
        model: facts and fingerprint.
        canaries: ``(16, dimensions)``: the vectors of the fixed canary texts.
        accepted: fingerprints of other engines whose canaries were found equal.
    """

    model: ModelInfo
    canaries: Matrix
    accepted: tuple[str, ...] = ()


@runtime_checkable
class CheckedStore(Protocol):
    """A store that can tell damage of its own files."""

    def check(self) -> None:
        """Read everything once.

        Raises:
            CorruptStoreError: naming the first thing that is wrong.
        """
        ...


class Store(Protocol):
    """Vectors to disk and back. Every adapter keeps the whole contract (tests/contract)."""

    @property
    def url(self) -> str:
        """How a user names this store."""
        ...

    @property
    def location(self) -> str:
        """Where it lies, whatever the working directory becomes; no other store has the same."""
        ...

    @property
    def exact(self) -> bool:
        """Whether search compares every vector; otherwise an index of the database's own may miss some."""
        ...

    @property
    def header(self) -> StoreHeader | None:
        """The model that the vectors belong to; None while the store is new and empty."""
        ...

    def write_header(self, header: StoreHeader) -> None:
        """Set (or extend ``accepted`` of) the header.

        Another model may take the place of the one there only while the store holds no record.

        Raises:
            ModelMismatchError: it holds vectors of another model.
        """
        ...

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        """Insert or replace records in one transaction.

        Args:
            records: each with at least one span; ids unique within the call.
            vectors: one unit row a span: the spans of the first record, then of the second, ….
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records with all that belongs to them; unknown ids are ignored. Returns how many went."""
        ...

    def get(self, ids: Sequence[str]) -> list[Record]:
        """The records with these ids, in the order asked; unknown ids are left out."""
        ...

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        """The passage vectors ``(spans, dimensions)`` of each of these (known) records, in the order asked.

        Raises:
            RecordNotFoundError: naming the first unknown id.
        """
        ...

    def count(self, where: Condition | None = None) -> int:
        """Exact number of records (that satisfy ``where``)."""
        ...

    def scan(self, where: Condition | None = None, batch_size: int = 1000) -> Iterator[list[Record]]:
        """All records (that satisfy ``where``) in the order of insertion, in batches."""
        ...

    def scan_vectors(
        self, where: Condition | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[Record], Matrix]]:
        """As `scan`, each batch with its vectors: the spans of the first record, then of the second, ….

        All batches are of one state: what is written meanwhile is not seen.
        """
        ...

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """``text.digest.record_digest`` of each known id: what indexing compares."""
        ...

    def ids(self, source: str | None = None) -> Iterator[str]:
        """Ids in the order of insertion; only those of one source when it is given."""
        ...

    def search(
        self, queries: Matrix, k: int, where: Condition | None = None, *, whole: bool = False
    ) -> list[list[Hit]]:
        """Exact search: for each query row the ``k`` records whose best passage scores highest, best first.

        Ties go to the record inserted first. With ``whole`` a record scores by the unit mean of its
        passages instead, and a hit shows its first passage: the same measure as between two records.
        """
        ...

    def writing(self, what: str) -> AbstractContextManager[None]:
        """Hold the one writer's place for several calls; ``what`` is told to whoever has to wait.

        Raises:
            StoreLockedError: another writer did not finish in time.
        """
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is fine."""
        ...
