"""Near-duplicates among records: equal texts first, then equal vectors, then the join of what is left."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from textkin.duplicates.groups import DuplicateReport, Evidence, check_ids, make_report
from textkin.duplicates.join import MAX_PAIRS, checked_threshold, near_pairs
from textkin.duplicates.keep import Keep, keep_order, rule_name
from textkin.duplicates.stars import Links
from textkin.duplicates.unit_rows import Numbers, unit_rows
from textkin.errors import InputError
from textkin.text.digest import text_digest, well_formed
from textkin.types import Progress, Scalar


def find_duplicates(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: npt.ArrayLike,
    threshold: float = 0.95,
    *,
    keep: Keep = "first",
    dates: Sequence[Scalar] | None = None,
    max_pairs: int = MAX_PAIRS,
    progress: Progress | None = None,
) -> DuplicateReport:
    """Find and group the near-duplicates among records; exact, whatever the order of the records.

    Records whose texts are equal (after NFC and with white space collapsed), and then those whose vectors are
    equal, are represented in the join by the one among them that the keep rule prefers; so any number of copies
    costs nothing. A record with a zero vector is a duplicate by its text only.

    Args:
        ids: unique.
        texts: one a record.
        vectors: ``(n, d)``, one row a record.
        threshold: cosine from which two records are near-duplicates.
        keep: see `textkin.duplicates.keep.keep_order`.
        dates: one a record, for ``keep="newest"``.
        max_pairs: see `textkin.duplicates.join.near_pairs`.
        progress: called with rows joined and rows in all.

    Raises:
        InputError: ids that repeat, lengths that differ, or whatever `near_pairs` and `keep_order` refuse.
    """
    threshold = checked_threshold(threshold)
    check_ids(ids)
    rows = unit_rows(vectors)
    if not len(ids) == len(texts) == rows.count:
        raise InputError(f"{len(ids)} ids, {len(texts)} texts and {rows.count} vectors; give one of each a record")
    order = keep_order(keep, ids, texts, dates)
    preferred = np.arange(len(ids)) if order is None else order
    same_text, by_text = _classes([_plain(text) for text in texts], preferred)
    digests: list[Hashable] = [
        number if rows.zero[number] else hashlib.blake2b(rows.source[number].tobytes(), digest_size=16).digest()
        for number in by_text.tolist()
    ]
    # A record's vector is that of the record that stands for its text.
    same_vector, stand_in = _classes(digests, preferred)
    joined = np.unique(stand_in)
    pairs = near_pairs(
        rows.source if len(joined) == rows.count else rows.source[joined],
        threshold,
        max_pairs=max_pairs,
        progress=progress,
    )
    evidence = Evidence(
        ids=tuple(ids),
        links=Links(joined[pairs.i], joined[pairs.j], pairs.score),
        joined_at=threshold,
        order=order,
        stand_in=stand_in,
        same_text=same_text,
        same_vector=same_vector,
        stats=pairs.stats,
    )
    return make_report(evidence, threshold, rule_name(keep))


def _plain(text: str) -> bytes:
    return text_digest(well_formed(" ".join(unicodedata.normalize("NFC", text).split())))


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
