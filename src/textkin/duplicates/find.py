"""Near-duplicates among records: equal texts first, then equal vectors, then the join of what is left."""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.evidence import Evidence, Vetoed, checked_shape
from textkin.duplicates.groups import DuplicateReport, check_ids, make_report
from textkin.duplicates.join import MAX_PAIRS, checked_threshold, too_many
from textkin.duplicates.keep import Keep, content_order, keep_order, rule_name
from textkin.duplicates.stars import Links
from textkin.duplicates.unit_rows import Numbers, unit_rows
from textkin.duplicates.unread import Unread
from textkin.duplicates.veto import Veto, checked_vetoes, differences, profile, word_key
from textkin.duplicates.work import Join, exact_join
from textkin.errors import InputError
from textkin.text.digest import text_digest, well_formed
from textkin.types import Metadata, MetadataValue, Progress, TextReader
from textkin.vectors.mapped import mapped_matrix

_PICKED: Final = 1 << 12


def find_duplicates(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: npt.ArrayLike,
    threshold: float = 0.95,
    *,
    keep: Keep = "first",
    dates: Sequence[MetadataValue] | None = None,
    metadata: Sequence[Metadata] | None = None,
    rule: str | None = None,
    veto: str | Iterable[str] = (),
    groups: str = "stars",
    max_pairs: int = MAX_PAIRS,
    progress: Progress | None = None,
    join: Join = exact_join,
    reader: TextReader | None = None,
) -> DuplicateReport:
    """Find and group the near-duplicates among records; exact, whatever the order of the records.

    Records whose texts are equal (after NFC and with white space collapsed), and then those whose vectors are
    equal, are represented in the join by the one among them that the keep rule prefers; so any number of copies
    costs nothing. A record with a zero vector is a duplicate by its text only. Under a keep rule that looks at
    content, ties are broken by content too, so that the same records in another order give the same groups.

    Args:
        ids: unique.
        texts: one a record.
        vectors: ``(n, d)``, one row a record. Of a mapped matrix no copy is made in memory.
        threshold: cosine from which two records are near-duplicates.
        keep: see `textkin.duplicates.keep.keep_order`.
        dates: one a record, for ``keep="newest"``.
        metadata: one a record; only breaks ties between equal texts.
        rule: what the report calls the keep rule; None: its own name.
        veto: ``numbers`` and ``negation``: pairs whose texts differ in them are not linked; see
            `textkin.duplicates.veto`.
        groups: ``stars``, or ``components``: whatever hangs together by links.
        max_pairs: see `textkin.duplicates.join.near_pairs`.
        progress: called with rows joined and rows in all.
        join: how the pairs are found.
        reader: tells what the model can read: records that differ in something else are not linked, and one of
            which it reads nothing is a duplicate by its text only. None: not looked at.

    Raises:
        InputError: ids that repeat, lengths that differ, or whatever `near_pairs` and `keep_order` refuse.
    """
    threshold = checked_threshold(threshold)
    vetoes, shape = checked_vetoes(veto), checked_shape(groups)
    check_ids(ids)
    rows = unit_rows(vectors)
    if not len(ids) == len(texts) == rows.count:
        raise InputError(f"{len(ids)} ids, {len(texts)} texts and {rows.count} vectors; give one of each a record")
    by_place = isinstance(keep, str) and keep in ("first", "last")
    ties = None if by_place else content_order(ids, texts, metadata)
    order = keep_order(keep, ids, texts, dates, ties)
    preferred = order if order is not None else np.arange(len(ids)) if ties is None else ties
    same_text, by_text = _classes([plain_digest(text) for text in texts], preferred)
    # A record's vector is that of the record that stands for its text.
    digests: list[Hashable] = [
        number if rows.zero[number] else hashlib.blake2b(rows.source[number].tobytes(), digest_size=16).digest()
        for number in by_text.tolist()
    ]
    same_vector, by_vector = _classes(digests, preferred)
    unread = None if reader is None else Unread(texts, reader)
    silent = np.zeros(len(ids), dtype=np.bool_)
    stand_in, keys = by_vector, None
    if unread is not None:
        silent[list(unread.silent)] = True
        keys = _keys_of_shared(unread, by_text, by_vector)
        _, stand_in = _classes(list(zip(digests, keys, strict=True)), preferred)
    if vetoes:
        # Only what no veto can tell apart is one record: the others meet as a pair, which may be vetoed.
        words = [word_key(texts[number]) for number in by_text.tolist()]
        _, stand_in = _classes(list(zip(digests, keys or words, words, strict=True)), preferred)
    joined = np.unique(by_vector[~silent])
    with _picked(rows.source, joined) as picked:
        pairs = join(picked, threshold, max_pairs, progress)
    found = Links(joined[pairs.i], joined[pairs.j], pairs.score)
    members: dict[int, list[int]] = {}
    for record in np.unique(stand_in[~silent]).tolist():
        members.setdefault(int(by_vector[record]), []).append(record)
    # A zero vector says nothing, so that records with one are not alike by it.
    zero = frozenset(np.flatnonzero(rows.zero).tolist())
    if all(len(some) == 1 and some[0] == vector for vector, some in members.items()):
        links, refused = found, []
    else:
        spread = _Spread(threshold, max_pairs)
        spread.between_vectors(found, members, unread)
        spread.within_vectors(members, keys, zero)
        links, refused = spread.links(), spread.refused
    links, vetoed = _sifted(links, ids, texts, vetoes, unread)
    if unread is not None:
        refused += [(i, j, 1.0) for i, j in _of_one_vector(by_vector, stand_in, silent)]
        told = [
            Vetoed(ids[i], ids[j], score, unread.why(unread.told(i, unread, j), i, unread, j))
            for i, j, score in sorted(set(refused))
        ]
        vetoed = tuple(sorted((*told, *vetoed), key=lambda pair: -pair.score))
    evidence = Evidence(
        ids=tuple(ids),
        links=links,
        joined_at=threshold,
        order=order,
        stand_in=stand_in,
        same_text=same_text,
        same_vector=same_vector,
        work=pairs.work,
        ties=ties,
        shape=shape,
        veto=vetoes,
        vetoed=vetoed,
        digests=tuple(text_digest(well_formed(text)) for text in texts),
        unread=tuple(ids[number] for number in np.flatnonzero(silent).tolist()),
    )
    return make_report(evidence, threshold, rule or rule_name(keep))


@contextmanager
def _picked(source: npt.NDArray[Any], rows: Numbers) -> Iterator[npt.NDArray[Any]]:
    """Some rows of a matrix; of a mapped one in a mapped file of their own: memory may not hold them."""
    if len(rows) == len(source):
        yield source
    elif isinstance(source, np.memmap) and source.dtype == np.float32:
        blocks = (source[rows[start : start + _PICKED]] for start in range(0, len(rows), _PICKED))
        with mapped_matrix(len(rows), source.shape[1], blocks) as picked:
            yield picked
    else:
        yield source[rows]


def _keys_of_shared(unread: Unread, by_text: Numbers, by_vector: Numbers) -> list[Hashable]:
    """What tells the different texts of one vector apart; nothing for a text that has its vector for itself."""
    own = np.unique(by_text)
    vectors, sizes = np.unique(by_vector[own], return_counts=True)
    shared = own[np.isin(by_vector[own], vectors[sizes > 1])].tolist()
    unread.read(shared)
    keys: dict[int, Hashable] = {number: unread.key(number) for number in shared}
    return [keys.get(number) for number in by_text.tolist()]


class _Spread:
    """Links between vectors as links between the records that have them, and between records of one vector.

    Args:
        threshold: of the links, for the error.
        max_pairs: links allowed; more are refused before they take memory.

    Attributes:
        refused: pairs that are no links because of what the model did not read, and their scores: one for each
            record, not each pair, of which there may be millions.
    """

    def __init__(self, threshold: float, max_pairs: int) -> None:
        self._threshold = threshold
        self._max_pairs = max_pairs
        self._i, self._j, self._scores = array("q"), array("q"), array("d")
        self.refused: list[tuple[int, int, float]] = []

    def between_vectors(self, links: Links, members: dict[int, list[int]], unread: Unread | None) -> None:
        """Link the records of near vectors that may be alike.

        Args:
            links: between records that stand for their vector.
            members: of those, the records that are to be told apart.
            unread: what the model did not read of the records.
        """
        best = np.argsort(-links.score, kind="stable")
        pairs = zip(links.i[best].tolist(), links.j[best].tolist(), links.score[best].tolist(), strict=True)
        told: set[int] = set()
        parts: dict[int, dict[Hashable, list[int]]] = {}
        for one, other, score in pairs:
            mine, theirs = members[one], members[other]
            if unread is None or len(mine) == len(theirs) == 1:
                self._link(mine, theirs, score)
                continue
            for vector in (one, other):
                if vector not in parts:
                    unread.read(members[vector])
                    parts[vector] = _grouped(members[vector], unread.words)
            for words, some in parts[one].items():
                if words in parts[other]:
                    self._link(some, parts[other][words], score)
            for here, there in ((one, other), (other, one)):
                opposite = members[there][0]
                for words, some in parts[here].items():
                    if words not in parts[there]:
                        fresh = [record for record in some if record not in told]
                        told.update(fresh)
                        self.refused += [(min(record, opposite), max(record, opposite), score) for record in fresh]

    def within_vectors(
        self, members: dict[int, list[int]], keys: Sequence[Hashable] | None, zero: frozenset[int]
    ) -> None:
        """Link the records of one vector.

        Args:
            members: as of `between_vectors`.
            keys: of all records; only equal ones are linked.
            zero: records whose vector is zero: nothing is linked by that.
        """
        for vector, some in members.items():
            if vector in zero:
                continue
            groups = list(_grouped(some, lambda record: None if keys is None else keys[record]).values())
            first = groups[0][0]
            self.refused += [(min(first, group[0]), max(first, group[0]), 1.0) for group in groups[1:]]
            for group in groups:
                for place, record in enumerate(group[:-1], 1):
                    self._link([record], group[place:], 1.0)

    def links(self) -> Links:
        """All of them."""
        return Links(
            np.array(self._i, dtype=np.int64),
            np.array(self._j, dtype=np.int64),
            np.array(self._scores, dtype=np.float64),
        )

    def _link(self, mine: Sequence[int], theirs: Sequence[int], score: float) -> None:
        fresh = len(mine) * len(theirs)
        count = len(self._i) + fresh
        if count > self._max_pairs:
            raise too_many(f"{count:,} or more", self._threshold, self._max_pairs)
        for record in mine:
            self._i.extend([record] * len(theirs))
            self._j.extend(theirs)
        self._scores.extend([score] * fresh)


def _grouped(records: Iterable[int], key: Callable[[int], Hashable]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _of_one_vector(by_vector: Numbers, stand_in: Numbers, silent: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Each record of which nothing was read with the one that stands for its vector, where that is another."""
    pairs = []
    for record in np.unique(stand_in[silent]).tolist():
        first = int(stand_in[by_vector[record]])
        if first != record:
            pairs.append((min(first, record), max(first, record)))
    return pairs


def _sifted(
    links: Links, ids: Sequence[str], texts: Sequence[str], vetoes: Sequence[Veto], unread: Unread | None
) -> tuple[Links, tuple[Vetoed, ...]]:
    """The links that no veto forbids, and the pairs that one does."""
    if not vetoes and unread is None:
        return links, ()
    linked = np.unique(np.concatenate([links.i, links.j])).tolist()
    profiles = {record: profile(texts[record]) for record in linked} if vetoes else {}
    if unread is not None:
        unread.read(linked)
    allowed = np.ones(len(links.i), dtype=np.bool_)
    vetoed: list[Vetoed] = []
    for number, (i, j) in enumerate(zip(links.i.tolist(), links.j.tolist(), strict=True)):
        first, second = min(i, j), max(i, j)
        why = differences(profiles[first], profiles[second], vetoes) if vetoes else {}
        if unread is not None:
            unseen = unread.between(first, unread, second, float(links.score[number]))
            if unseen is not None:
                why.update(unread.why(unseen, first, unread, second))
        if why:
            allowed[number] = False
            vetoed.append(Vetoed(ids[first], ids[second], float(links.score[number]), why))
    vetoed.sort(key=lambda pair: -pair.score)
    return Links(links.i[allowed], links.j[allowed], links.score[allowed]), tuple(vetoed)


def plain(text: str) -> str:
    """What makes two texts the same: NFC, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def plain_digest(text: str) -> bytes:
    """`plain` in 32 bytes."""
    return text_digest(well_formed(plain(text)))


def _classes(keys: Sequence[Hashable], preferred: Numbers) -> tuple[Numbers, Numbers]:
    """Number the distinct keys; with each record the preferred record of the same key."""
    numbers: dict[Hashable, int] = {}
    first: list[int] = []
    which = np.empty(len(keys), dtype=np.int64)
    for record in preferred.tolist():
        number = numbers.setdefault(keys[record], len(numbers))
        if number == len(first):
            first.append(record)
        which[record] = number
    return which, np.array(first, dtype=np.int64)[which]
