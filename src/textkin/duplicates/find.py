"""Near-duplicates among records: equal texts first, then equal vectors, then the join of what is left."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.evidence import Evidence, Vetoed, checked_shape
from textkin.duplicates.groups import DuplicateReport, check_ids, make_report
from textkin.duplicates.join import MAX_PAIRS, checked_threshold
from textkin.duplicates.keep import Keep, content_order, keep_order, rule_name
from textkin.duplicates.stars import Links
from textkin.duplicates.unit_rows import Numbers, unit_rows
from textkin.duplicates.veto import Veto, checked_vetoes, differences, profile, word_key
from textkin.duplicates.work import Join, exact_join
from textkin.errors import InputError
from textkin.text.digest import text_digest, well_formed
from textkin.types import Metadata, MetadataValue, Progress
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
    same_vector, stand_in = _classes(digests, preferred)
    if vetoes:
        # Only what no veto can tell apart is one record: the others meet as a pair, which may be vetoed.
        words = [word_key(texts[number]) for number in by_text.tolist()]
        _, stand_in = _classes(list(zip(digests, words, strict=True)), preferred)
    joined = np.unique(stand_in)
    with _picked(rows.source, joined) as picked:
        pairs = join(picked, threshold, max_pairs, progress)
    links, vetoed = _sifted(Links(joined[pairs.i], joined[pairs.j], pairs.score), ids, texts, vetoes)
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


def _sifted(
    links: Links, ids: Sequence[str], texts: Sequence[str], vetoes: Sequence[Veto]
) -> tuple[Links, tuple[Vetoed, ...]]:
    """The links that no veto forbids, and the pairs that one does."""
    if not vetoes:
        return links, ()
    profiles = {
        record: profile(texts[record]) for record in np.unique(np.concatenate([links.i, links.j])).tolist()
    }
    allowed = np.ones(len(links.i), dtype=np.bool_)
    vetoed: list[Vetoed] = []
    for number, (i, j) in enumerate(zip(links.i.tolist(), links.j.tolist(), strict=True)):
        first, second = min(i, j), max(i, j)
        why = differences(profiles[first], profiles[second], vetoes)
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
