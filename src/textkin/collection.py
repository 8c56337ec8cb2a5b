"""The façade: one store, the model whose vectors it holds, and the ledger."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar, overload

import numpy as np

from textkin._arguments import is_one, number, strings, whole_number
from textkin._progress import progress_of
from textkin.duplicates.against import AgainstReport, find_known
from textkin.duplicates.calibration import Calibration
from textkin.duplicates.choice import MIN_PRECISION, MIN_SCORE
from textkin.duplicates.find import find_duplicates
from textkin.duplicates.groups import DuplicateReport
from textkin.duplicates.keep import Keep, field_values
from textkin.duplicates.labels import LabelledPair, read_labels
from textkin.errors import InputError, ReadOnlyError, RecordNotFoundError, StoreError
from textkin.jobs import deduplicating
from textkin.jobs.adding import text_records
from textkin.jobs.deduplicating import Threshold
from textkin.jobs.embedding import embed_records, record_vectors, unit_means
from textkin.jobs.files import index_files
from textkin.jobs.indexing import IndexReport, index, remove_source
from textkin.ledger import Ledger, LedgerResult, embed
from textkin.models.embedding_model import TruncationWarning
from textkin.models.resolve import Precision
from textkin.models.spending import Budget, Spend
from textkin.opened import OpenedModel
from textkin.search.clusters import Cluster, find_clusters
from textkin.search.outliers import Outlier, find_outliers
from textkin.search.recall import Recall, measure_recall
from textkin.stores.foreign import ForeignFacts, ForeignStore
from textkin.stores.resolve import open_store
from textkin.text.digest import well_formed
from textkin.text.files import source_of
from textkin.text.options import OnNote, OnSkip, ReadOptions, ignore_note, ignore_skip
from textkin.types import Hit, Matrix, Metadata, Model, ModelInfo, Progress, Record, Store
from textkin.vectors.similarity import normalize
from textkin.where import Where, condition

_COPIES = 256
_Answer = TypeVar("_Answer")


class LedgerWarning(UserWarning):
    """The ledger could not be used; the answer is right, but nothing was kept."""


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is.

    Attributes:
        place: how it was opened.
        records: how many.
        model: whose vectors it holds; None while it is new and empty.
        exact: whether search compares every vector; if not, `Collection.recall` measures what it misses.
        foreign: what reading another tool's collection has shown; None for textkin's own.
    """

    place: str
    records: int
    model: ModelInfo | None
    exact: bool
    foreign: ForeignFacts | None = None


class Collection:
    """Texts, their vectors, and the answers they give. Opens, or creates on the first write.

    Usable as a context manager. The model is loaded when a text needs a vector: listing, removing,
    ``similar`` by id and ``duplicates`` need none.

    Args:
        place: a folder, by convention named ``….kin``, or another kind of store, see `textkin.stores.resolve`.
        model: a name, a folder, or an object with ``encode``; by default the model that the collection
            was built with, or all-MiniLM-L6-v2 for a new one. For another tool's collection it must be named,
            and is checked at once by embedding some of its texts again; such a collection is only read.
        create: False refuses to make a new one.
        read_only: open without the right to write.
        ledger: False keeps no ledger; a `Ledger` to use another than the user's own.
        device: as in `load_model`.
        precision: as in `load_model`; by default that of the collection, float32 for a new one.
        threads: as in `load_model`.
        timeout: seconds to wait for another writer.
        budget: what all that is done with this object may spend on a model that others run; then `BudgetError`
            ends the work, and what was embedded is kept.
        base_url: as in `load_model`. A collection finds a server on this machine again by itself; any other must
            be named each time, here or in OPENAI_BASE_URL.

    Attributes:
        spend: what was spent until now, and what the ledger saved: ``spend.spent()``.

    Raises:
        StoreNotFoundError: nothing there, and ``create`` is False.
        ModelMismatchError: ``model`` is not the one that made the collection's vectors.
        StoreError: whatever else keeps it from being opened; see `textkin.errors`.
    """

    def __init__(
        self,
        place: str | Path,
        model: Any = None,
        *,
        create: bool = True,
        read_only: bool = False,
        ledger: Ledger | bool = True,
        device: str = "cpu",
        precision: Precision | None = None,
        threads: int | None = None,
        timeout: float = 10.0,
        budget: Budget | None = None,
        base_url: str | None = None,
    ) -> None:
        self.spend = Spend(budget)
        self._store: Store = open_store(
            place, create=create and not read_only, read_only=read_only, timeout=timeout
        )
        self._chosen_ledger = ledger
        self._opened_ledger: Ledger | None = None
        self._model = OpenedModel(
            self._store,
            model,
            self._ledger_to_ask,
            device=device,
            precision=precision,
            threads=threads,
            base_url=base_url,
        )
        try:
            with self.spend.counting():
                self._model.check_choice()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Collection {self._store.url}>"

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and bool(self._store.digests([well_formed(id)]))

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def close(self) -> None:
        """Release files. Closing twice is fine."""
        self._store.close()
        if self._opened_ledger is not None and self._opened_ledger is not self._chosen_ledger:
            self._opened_ledger.close()
        self._opened_ledger = None

    # -- writing -------------------------------------------------------------------------------------------

    def add(
        self,
        texts: str | Iterable[str],
        *,
        ids: str | Iterable[str] | None = None,
        metadata: Metadata | Iterable[Metadata] | None = None,
        progress: Progress | bool | None = None,
    ) -> IndexReport:
        """Add or replace texts; what is there already as it is costs nothing.

        Args:
            texts: one, or many.
            ids: one a text; by default made from the text, so that adding it again changes nothing
                (the n-th equal text of one call gets ``-n`` behind it and is a record of its own).
            metadata: one mapping a text, or one for all.
            progress: called with (texts done, texts in all); True shows a bar on stderr.

        Raises:
            InputError: lengths that differ, an id that comes twice, metadata that can't be kept.
        """
        records = text_records(texts, ids, metadata)
        with progress_of(progress, "adding") as shown:
            return self.index(records, total=len(records), progress=shown)

    def index(
        self,
        records: Iterable[Record],
        *,
        sources: Sequence[str] = (),
        unread: Callable[[str, str], bool] | None = None,
        keep_missing: bool = False,
        total: int | None = None,
        progress: Progress | None = None,
        on_stored: Callable[[Sequence[str]], None] | None = None,
    ) -> IndexReport:
        """Index a stream of records; arguments, effects and errors as in `textkin.jobs.indexing.index`."""
        with self.spend.counting():
            return index(
                self._store,
                self._model.for_writing,
                self._ledger,
                records,
                sources=sources,
                unread=unread,
                keep_missing=keep_missing,
                total=total,
                progress=progress,
                on_stored=on_stored,
                ready=self._model.get,
            )

    def add_files(
        self,
        paths: str | Path | Sequence[str | Path],
        options: ReadOptions | None = None,
        *,
        keep_missing: bool = False,
        progress: Progress | bool | None = None,
        on_skip: OnSkip = ignore_skip,
        on_note: OnNote = ignore_note,
        on_stored: Callable[[Sequence[str]], None] | None = None,
        stdin: BinaryIO | None = None,
    ) -> IndexReport:
        """Bring the collection up to date with files, folders, globs, tables, or ``-`` for stdin.

        Only what is new or changed is embedded. What came from these inputs before and is gone is dropped,
        unless the file that it may have come from could not be read this time.

        Args:
            paths: one or more.
            options: text and id columns, encoding, patterns; see `ReadOptions`.
            keep_missing: keep what is gone.
            progress: called with (records done, records in all); True shows a bar on stderr.
            on_skip: told of each file and row that gives no record; the report lists them too.
            on_note: told of what was decided about a file and could be otherwise; the report lists that too.
            on_stored: called with the ids of a batch when they are safely on disk.
            stdin: read for ``-`` instead of the process's own.

        Raises:
            InputError: a path that isn't there, a column that can't be found, an id that came twice.
        """
        with progress_of(progress, "indexing") as shown, self.spend.counting():
            return index_files(
                self._store,
                self._model.for_writing,
                self._ledger,
                paths,
                options=options,
                keep_missing=keep_missing,
                progress=shown,
                on_skip=on_skip,
                on_note=on_note,
                on_stored=on_stored,
                stdin=stdin,
                ready=self._model.get,
            )

    def remove(self, ids: str | Iterable[str]) -> int:
        """Remove records.

        Returns:
            How many went.

        Raises:
            RecordNotFoundError: an id that isn't there; then nothing is removed.
        """
        names = list(dict.fromkeys(_listed(ids)))
        with self._store.writing("remove"):
            self._require(names)
            return self._store.delete(names)

    def remove_source(self, path: str | Path) -> int:
        """Remove all records that came from an input, which may be gone already.

        Args:
            path: a file, a folder (with all that was indexed from inside it), a glob or URL as given, or ``-``.

        Returns:
            How many went.
        """
        return remove_source(self._store, source_of(path))

    # -- reading -------------------------------------------------------------------------------------------

    def count(self, where: Where | None = None) -> int:
        """Number of records (that satisfy ``where``), exact."""
        return self._store.count(condition(where))

    @overload
    def get(self, id: str) -> Record: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, id: Iterable[str]) -> list[Record]: ...
    def get(self, id: str | Iterable[str]) -> Record | list[Record]:
        """The record with this id; for several ids a list, in their order.

        Raises:
            RecordNotFoundError: there is none; names the first such id.
        """
        names = _listed(id)
        self._require(names)
        found = {record.id: record for record in self._store.get(list(dict.fromkeys(names)))}
        return found[names[0]] if is_one(id) else [found[name] for name in names]

    def records(self, where: Where | None = None) -> Iterator[Record]:
        """All records (that satisfy ``where``) in the order of insertion."""
        return chain.from_iterable(self._store.scan(condition(where)))

    def vectors(self, ids: str | Sequence[str]) -> Matrix:
        """One unit vector a record, ``(len(ids), dimensions)``: the mean of its passages' vectors.

        Raises:
            RecordNotFoundError: naming the first unknown id.
        """
        names = _listed(ids)
        if not names:
            return self._no_vectors()
        blocks = self._store.vectors(names)
        return unit_means(np.concatenate(blocks), [len(block) for block in blocks])

    def info(self) -> CollectionInfo:
        """Place, size and model."""
        header = self._store.header
        count = self._store.count()
        foreign = self._store.facts if isinstance(self._store, ForeignStore) else None
        model = header.model if header and count else None
        return CollectionInfo(self._store.url, count, model, self._store.exact, foreign)

    @property
    def exact(self) -> bool:
        """Whether search compares every vector; otherwise a database's own index may miss some: see `recall`."""
        return self._store.exact

    def writing(self, what: str) -> AbstractContextManager[None]:
        """Hold the one writer's place for several calls; ``what`` is told to whoever has to wait."""
        return self._store.writing(what)

    # -- answering -----------------------------------------------------------------------------------------

    @overload
    def search(  # type: ignore[overload-overlap]
        self,
        query: str | None = None,
        k: int = 5,
        *,
        where: Where | None = None,
        threshold: float | None = None,
        like: str | Iterable[str] = (),
        unlike: str | Iterable[str] = (),
    ) -> list[Hit]: ...
    @overload
    def search(
        self,
        query: Iterable[str],
        k: int = 5,
        *,
        where: Where | None = None,
        threshold: float | None = None,
        like: str | Iterable[str] = (),
        unlike: str | Iterable[str] = (),
    ) -> list[list[Hit]]: ...
    def search(
        self,
        query: str | Iterable[str] | None = None,
        k: int = 5,
        *,
        where: Where | None = None,
        threshold: float | None = None,
        like: str | Iterable[str] = (),
        unlike: str | Iterable[str] = (),
    ) -> list[Hit] | list[list[Hit]]:
        """The records nearest in meaning, best first; exact. Several queries give a list of hits each.

        Args:
            query: what is looked for; several are embedded together.
            k: how many at most.
            where: metadata filter: ``{"lang": "en", "year": {"$gte": 2020}}`` or ``lang = "en" and year >= 2020``.
            threshold: leave out lower scores.
            like: ids whose meaning is added to the query's, and unlike: ids whose meaning is taken
                away: the unit vectors are summed with these signs. Those records are left out of the answer.

        Raises:
            InputError: nothing to search for, or ``k`` under 1.
            FilterError: ``where`` is not valid.
            RecordNotFoundError: an id in ``like`` or ``unlike`` that isn't there.
        """
        likes, unlikes = _listed(like), _listed(unlike)
        if query is None and not likes and not unlikes:
            raise InputError("nothing to search for: give a query, or ids in like or unlike")
        queries = [] if query is None else strings(query, "query")
        for text in queries:
            if not text.strip():
                raise InputError("the query is empty; say what to look for")
        if query is not None and not queries:
            return []
        sums = self._query_vectors(queries).astype(np.float64) if queries else np.zeros((1, 1))
        for sign, ids in ((1.0, likes), (-1.0, unlikes)):
            if ids:
                sums = sums + sign * self.vectors(ids).astype(np.float64).sum(axis=0)
        found = self._nearest(sums, k, where, threshold, [{*likes, *unlikes}] * len(sums))
        return found[0] if query is None or is_one(query) else found

    @overload
    def similar(  # type: ignore[overload-overlap]
        self, id_or_text: str, k: int = 5, *, where: Where | None = None, threshold: float | None = None
    ) -> list[Hit]: ...
    @overload
    def similar(
        self, id_or_text: Iterable[str], k: int = 5, *, where: Where | None = None, threshold: float | None = None
    ) -> list[list[Hit]]: ...
    def similar(
        self,
        id_or_text: str | Iterable[str],
        k: int = 5,
        *,
        where: Where | None = None,
        threshold: float | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """The records most similar to a record (without itself) or, where no record has this id, to a text.

        Whole records are compared, as in `duplicates`: a long one by the unit mean of its passages' vectors.

        Args:
            id_or_text: an id of this collection, else a text; several give a list of hits each.
            k: how many at most.
            where: metadata filter, as in `search`.
            threshold: leave out lower scores.
        """
        given = _listed(id_or_text, "text")
        known = self._store.digests(list(dict.fromkeys(given)))
        own = [{text} if text in known else set() for text in given]
        if not given:
            return []
        asked = [text for text in dict.fromkeys(given) if text in known]
        self._require_readable((f"the record {one.id!r},", one.text) for one in self._store.get(asked))
        fresh = iter(self._text_vectors([text for text in given if text not in known]))
        stored = iter(self.vectors([text for text in given if text in known]))
        rows = np.stack([next(stored) if text in known else next(fresh) for text in given])
        found = self._nearest(rows, k, where, threshold, own, whole=True)
        return found[0] if is_one(id_or_text) else found

    @overload
    def similar_to_text(  # type: ignore[overload-overlap]
        self, text: str, k: int = 5, *, where: Where | None = None, threshold: float | None = None
    ) -> list[Hit]: ...
    @overload
    def similar_to_text(
        self, text: Iterable[str], k: int = 5, *, where: Where | None = None, threshold: float | None = None
    ) -> list[list[Hit]]: ...
    def similar_to_text(
        self,
        text: str | Iterable[str],
        k: int = 5,
        *,
        where: Where | None = None,
        threshold: float | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """As `similar`, with texts that are no ids."""
        texts = _listed(text, "text")
        rows = self._text_vectors(texts)
        found = self._nearest(rows, k, where, threshold, [set() for _ in texts], whole=True) if texts else []
        return found[0] if is_one(text) else found

    def duplicates(
        self,
        threshold: Threshold = 0.95,
        *,
        keep: Keep = "first",
        date_field: str | None = None,
        veto: str | Iterable[str] = (),
        groups: str = "stars",
        where: Where | None = None,
        approximate_above: int | None = None,
        progress: Progress | None = None,
    ) -> DuplicateReport:
        """All pairs of records with a cosine of at least ``threshold``, in groups around the one kept.

        Exact: no pair is missed, unless ``approximate_above`` is given. Nothing is removed; see `apply`. Texts
        that differ in something that the model has no token for (an emoji, another script) are no duplicates:
        they are among the report's ``vetoed``; those of which it reads nothing are in ``unread``. The pairs are
        remembered: the next call at this or a higher threshold compares only what is new since.

        Args:
            threshold: cosine; see the report's ``.at(...)`` to raise it afterwards. ``auto`` takes that of
                `calibrate`, which is done first where it was not, or where the collection has changed much since;
                whether the data could tell it is in `calibration`.
            keep: which record of a group stays: ``first`` or ``last`` added, ``longest``, ``central`` (with the
                most near-duplicates), ``newest`` by ``date_field``, the name of a metadata field with numbers or
                dates (the highest stays), or a function from id to a number (the highest stays).
            date_field: for ``newest``: metadata field with numbers or ISO 8601 dates.
            veto: ``numbers``, ``negation`` or both: records whose texts differ in them are not duplicates.
            groups: ``stars``; or ``components``, whose records hang together by chains.
            where: only among the records that satisfy it.
            approximate_above: for more records than this, search with FAISS instead; the report says so, and gives
                the recall measured on these records.
            progress: called with (parts done, parts in all).
        """
        level: Threshold = threshold if isinstance(threshold, str) else number(threshold, "threshold")
        records, vectors = self._all(where)
        chosen, values, rule = field_values(records, keep, date_field)
        if level == "auto":
            # What belongs to the collection is found on all of it.
            whole = self._calibrated(records, vectors) if where is None else self.calibrated()
            level = whole.threshold
        ids, texts = _ids_and_texts(records)
        return find_duplicates(
            ids,
            texts,
            vectors,
            level,
            keep=chosen,
            dates=values,
            metadata=[record.metadata for record in records],
            rule=rule,
            veto=veto,
            groups=groups,
            progress=progress,
            join=deduplicating.join_for(self._store, whole=where is None, approximate_above=approximate_above),
            reader=self._model.reader(),
        )

    def against(
        self,
        texts: str | Iterable[str | Record],
        *,
        ids: str | Iterable[str] | None = None,
        threshold: Threshold = 0.95,
        veto: str | Iterable[str] = (),
        progress: Progress | None = None,
    ) -> AgainstReport:
        """Which of some new texts are already here; exact. Nothing is added.

        Args:
            texts: the new ones, or records.
            ids: one a text, as in `add`.
            threshold: as in `duplicates`.
            veto: as in `duplicates`.
            progress: called with (texts embedded, texts in all).

        Raises:
            InputError: the collection is empty, or a text can't be embedded.
        """
        self._require_filled()
        given: Any = list(texts) if isinstance(texts, list | tuple | Iterator) else texts
        new = [one for one in given if isinstance(one, Record)] if isinstance(given, list) else []
        if not new:
            new = text_records(given, ids, None)
        elif len(new) < len(given):
            raise InputError("give either texts or records, not both and nothing else")
        with self.spend.counting():
            done = embed_records(self._model.get(), new, self._ledger(), progress)
        for name, reason in done.failed.items():
            raise InputError(f"{name!r} can't be embedded: {reason}")
        records, vectors = self._all(None)
        level: Threshold = threshold if isinstance(threshold, str) else number(threshold, "threshold")
        level = self._calibrated(records, vectors).threshold if level == "auto" else level
        fresh = record_vectors(done.records, done.vectors)
        return find_known(
            (*_ids_and_texts(done.records), fresh),
            (*_ids_and_texts(records), vectors),
            level,
            veto=veto,
            reader=self._model.reader(),
        )

    def apply(self, report: DuplicateReport) -> int:
        """Delete a report's dropped records: in one transaction, and so that `undo` brings them back.

        Returns:
            How many went.

        Raises:
            StoreError: a database, which can't promise that.
            InputError: a record of the report is gone or has changed since; then nothing is deleted.
        """
        return deduplicating.apply_report(self._store, report)

    def undo(self) -> int:
        """Bring back what the last `apply` deleted: records, vectors, metadata and order as they were.

        Returns:
            How many came back.

        Raises:
            InputError: there is nothing to undo, or an id is in use again.
        """
        return deduplicating.undo_apply(self._store)

    def forget_undo(self) -> int:
        """Drop for good what the last `apply` deleted. Returns how many records."""
        return deduplicating.forget_applied(self._store)

    def calibrate(
        self,
        labels: str | Path | Sequence[tuple[str, str, bool]] | None = None,
        *,
        copies: int = _COPIES,
        min_precision: float = MIN_PRECISION,
        min_score: float = MIN_SCORE,
        progress: Progress | None = None,
    ) -> Calibration:
        """Estimate what each threshold would find and miss here; kept for ``threshold="auto"``.

        Args:
            labels: pairs that somebody judged, as (id or text, id or text, same), or a CSV file of them.
            copies: how many lightly edited copies of texts are embedded to see which are missed; 0 for none.
            min_precision: share of the found pairs that must be true at the least for ``auto`` to be sure.
            min_score: ``auto`` is never lower.
            progress: called with (rows scored, rows in all).

        Raises:
            InputError: too few records, or labels that can't be used.
        """
        copies = whole_number(copies, "copies", 0)
        records, vectors = self._all(None)
        pairs: list[LabelledPair] | None = None
        if isinstance(labels, (str, Path)):
            pairs = read_labels(labels)
        elif labels is not None:
            pairs = [LabelledPair(*pair) for pair in labels]
        embed = deduplicating.embedder(self._model.get, self._ledger) if copies or pairs else None
        with self.spend.counting():
            return deduplicating.calibrate_store(
                self._store,
                records,
                vectors,
                embed,
                labels=pairs,
                copies=copies,
                min_precision=min_precision,
                min_score=min_score,
                progress=progress,
            )

    def calibration(self) -> Calibration | None:
        """What `calibrate` found last for these vectors; None where it was never called."""
        return deduplicating.saved_calibration(self._store)

    def calibrated(self, progress: Progress | None = None) -> Calibration:
        """`calibration`; `calibrate` where there is none or the number of records changed by over a tenth."""
        found = self.calibration()
        if found is not None and deduplicating.still_good(found, self.count()):
            return found
        return self._calibrated(*self._all(None), progress)

    def outliers(
        self, k: int = 10, *, neighbours: int = 5, where: Where | None = None, progress: Progress | None = None
    ) -> list[Outlier]:
        """The records that have the least near them, the oddest first.

        Args:
            k: how many at most.
            neighbours: how many nearest records count; they are the reason given.
            where: only among the records that satisfy it.
            progress: called with (records done, records in all).
        """
        k, neighbours = whole_number(k, "k", 1), whole_number(neighbours, "neighbours", 1)
        records, vectors = self._all(where)
        return find_outliers(*_ids_and_texts(records), vectors, k=k, neighbours=neighbours, progress=progress)

    def recall(self, k: int = 10, *, sample: int = 100, seed: int = 0, progress: Progress | None = None) -> Recall:
        """What share of the true nearest records a search finds, measured on a sample of the collection's own.

        1.0 in places that compare every vector (``exact``); a database's own index may miss some. Reads all
        vectors once.

        Args:
            k: neighbours of each record.
            sample: records.
            seed: of their choice.
            progress: called with (records read, records in all).
        """
        k, sample = whole_number(k, "k", 1), whole_number(sample, "sample", 1)
        return measure_recall(self._store, k, sample, whole_number(seed, "seed"), progress)

    def clusters(self, count: int | None = None, *, where: Where | None = None, seed: int = 0) -> list[Cluster]:
        """Groups of related records with the words that set each apart, the largest first.

        Args:
            count: how many groups; by default about the square root of half the records, at most 50.
            where: only among the records that satisfy it.
            seed: the same seed gives the same groups.

        Raises:
            MissingDependencyError: scikit-learn is not installed (``textkin[clusters]``).
        """
        wanted = None if count is None else whole_number(count, "count")
        records, vectors = self._all(where)
        return find_clusters(*_ids_and_texts(records), vectors, wanted, whole_number(seed, "seed"))

    # -- inside --------------------------------------------------------------------------------------------

    def _ledger(self) -> Ledger | None:
        if self._chosen_ledger is False:
            return None
        if self._opened_ledger is None:
            self._opened_ledger = Ledger() if self._chosen_ledger is True else self._chosen_ledger
        return self._opened_ledger

    def _ledger_to_ask(self) -> Ledger | None:
        """`_ledger`; None where there is none to be had. Who stores vectors opens it before."""
        try:
            return self._ledger()
        except StoreError:
            return None

    def _all(self, where: Where | None) -> tuple[list[Record], Matrix]:
        """All records (that satisfy ``where``), in order and of one moment, and one vector each."""
        records: list[Record] = []
        blocks: list[Matrix] = []
        for batch, vectors in self._store.scan_vectors(condition(where)):
            records += batch
            blocks.append(record_vectors(batch, vectors))
        return records, np.concatenate(blocks) if blocks else self._no_vectors()

    def _calibrated(
        self, records: Sequence[Record], vectors: Matrix, progress: Progress | None = None
    ) -> Calibration:
        found = self.calibration()
        if found is None or not deduplicating.still_good(found, len(records)):
            embed = deduplicating.embedder(self._model.get, self._ledger)
            with self.spend.counting():
                found = deduplicating.calibrate_store(
                    self._store, records, vectors, embed, copies=_COPIES, progress=progress
                )
        return found

    def _no_vectors(self) -> Matrix:
        header = self._store.header
        return np.empty((0, header.model.dimensions if header else 0), dtype=np.float32)

    def _require_readable(self, named: Iterable[tuple[str, str]]) -> None:
        """Refuse texts of which the model reads nothing: whatever they were near to, it would be by chance.

        Args:
            named: what each is called, and the text.
        """
        asked = list(named)
        for row in self.unreadable([text for _, text in asked])[:1]:
            what, text = asked[row]
            header = self._store.header
            name = header.model.name if header is not None else "the model"
            raise InputError(
                f"{name} can't read {what} {text[:60]!r}: it has no token for any word of it, so no answer would "
                "mean anything. Say it in words that the model knows, or keep the texts with a model that reads "
                "this script (textkin models)"
            )

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """Which of some texts the collection's model can't read at all: it has no token for anything in them.

        Returns:
            Their places, ascending; empty too where the model doesn't tell, or its tokenizer is not here.
        """
        return self._model.reader().unreadable([well_formed(text) for text in texts])

    def _text_vectors(self, texts: Sequence[str]) -> Matrix:
        """One vector a text, as of a record of it."""
        for text in texts:
            if not text.strip():
                raise InputError("the text is empty; give an id of this collection or a text")
        if not texts:
            return self._no_vectors()
        self._require_filled()
        records = [Record(id=f"text {number}", text=well_formed(text)) for number, text in enumerate(texts)]
        with self.spend.counting():
            model = self._model.get()
            self._require_readable(("the text", text) for text in texts)
            embedded = self._asking(lambda ledger: embed_records(model, records, ledger))
        for reason in embedded.failed.values():
            raise InputError(f"the text can't be embedded: {reason}")
        return record_vectors(embedded.records, embedded.vectors)

    def _query_vectors(self, queries: Sequence[str]) -> Matrix:
        self._require_filled()
        with self.spend.counting():
            model = self._model.get()
            self._require_readable(("the query", query) for query in queries)
            result = self._embed_queries(model, queries)
        for row, reason in result.failed.items():
            raise InputError(f"the query {queries[row]!r:.80} can't be embedded: {reason}")
        if result.truncated:
            which = (
                "the query is" if len(queries) == 1 else f"{len(result.truncated)} of {len(queries)} queries are"
            )
            warnings.warn(
                f"{which} longer than the {model.info.max_tokens} tokens that {model.info.name} reads; "
                "only the beginning counts",
                TruncationWarning,
                stacklevel=3,
            )
        return result.vectors

    def _embed_queries(self, model: Model, queries: Sequence[str]) -> LedgerResult:
        return self._asking(lambda ledger: embed(model, queries, "query", ledger))

    def _asking(self, embedding: Callable[[Ledger | None], _Answer]) -> _Answer:
        """A question needs no place in the ledger: where there is none to be had, it is embedded without."""
        try:
            return embedding(self._ledger())
        except ReadOnlyError:
            return embedding(None)
        except StoreError as error:
            warnings.warn(f"the query was embedded without the ledger: {error}", LedgerWarning, stacklevel=6)
            return embedding(None)

    def _nearest(
        self,
        vectors: Any,
        k: int,
        where: Where | None,
        threshold: float | None,
        exclude: Sequence[set[str]],
        *,
        whole: bool = False,
    ) -> list[list[Hit]]:
        """Hits of each row, without the ids that are excluded there."""
        k = whole_number(k, "k", 1)
        least = -math.inf if threshold is None else number(threshold, "threshold")
        unit = np.ascontiguousarray(normalize(vectors), dtype=np.float32)
        if not unit.any(axis=1).all():
            raise InputError("what is to be like and unlike cancels out; there is nothing left to search for")
        most = k + max(map(len, exclude), default=0)
        found = self._store.search(unit, most, condition(where), whole=whole)
        return [
            [hit for hit in hits if hit.id not in left_out and hit.score >= least][:k]
            for hits, left_out in zip(found, exclude, strict=True)
        ]

    def _require(self, ids: Sequence[str]) -> None:
        known = self._store.digests(ids)
        for name in ids:
            if name not in known:
                raise RecordNotFoundError(
                    f"{self._store.url} has no record {name!r}; textkin list {self._store.url} shows what it has"
                )

    def _require_filled(self) -> None:
        if self._store.header is None:
            raise InputError(
                f"{self._store.url} is empty; add texts first: textkin index PATH --to {self._store.url}"
            )


def _listed(given: str | Iterable[str], what: str = "id") -> list[str]:
    return [well_formed(one) for one in strings(given, what)]


def _ids_and_texts(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    return [record.id for record in records], [record.text for record in records]
