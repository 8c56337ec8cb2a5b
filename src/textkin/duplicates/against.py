"""New records against known ones: which are already there, and as which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textkin.duplicates.evidence import Reason, Vetoed
from textkin.duplicates.find import plain_digest
from textkin.duplicates.join import MAX_PAIRS, JoinStats, checked_threshold, near_pairs
from textkin.duplicates.unread import Unread
from textkin.duplicates.veto import checked_vetoes, differences, profile
from textkin.errors import InputError
from textkin.types import Progress, TextReader


@dataclass(frozen=True, slots=True)
class Known:
    """A new record that is already there.

    Attributes:
        id: the new record's.
        partner: the known record that is nearest to it, the first of several with the same score.
        score: of the two; 1.0 for the same text.
        reason: ``same text`` (but for Unicode form and white space) or ``near``.
    """

    id: str
    partner: str
    score: float
    reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class AgainstReport:
    """Which new records are already there. Exact: every new record was compared with every known one.

    Attributes:
        threshold: lowest score of a near-duplicate.
        total: new records.
        known: those that are there, in the order of the new ones.
        new: ids of all others.
        vetoed: pairs that score high enough and differ in a number or a negation, best first.
        stats: of the join.
        unread: ids of the new records of which the model can read nothing: compared by their texts only.
    """

    threshold: float
    total: int
    known: tuple[Known, ...]
    new: tuple[str, ...]
    vetoed: tuple[Vetoed, ...]
    stats: JoinStats
    unread: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.total:,} new record{'s' * (self.total != 1)}: {len(self.known):,} already there at "
            f"{self.threshold:g}, {len(self.new):,} new"
        )

    def rows(self) -> list[dict[str, str | float]]:
        """One flat row a record that is there."""
        return [
            {"id": one.id, "partner": one.partner, "score": one.score, "reason": one.reason} for one in self.known
        ]


def find_known(
    new: tuple[Sequence[str], Sequence[str], npt.NDArray[np.float32]],
    old: tuple[Sequence[str], Sequence[str], npt.NDArray[np.float32]],
    threshold: float = 0.95,
    *,
    veto: str | Iterable[str] = (),
    max_pairs: int = MAX_PAIRS,
    progress: Progress | None = None,
    reader: TextReader | None = None,
) -> AgainstReport:
    """Compare new records with known ones.

    Args:
        new: ids, texts and ``(n, d)`` vectors.
        old: ids, texts and ``(m, d)`` vectors.
        threshold: cosine from which two records are near-duplicates.
        veto: as in `textkin.duplicates.find.find_duplicates`.
        max_pairs: see `near_pairs`.
        progress: called with rows joined and rows in all.
        reader: as in `textkin.duplicates.find.find_duplicates`.

    Raises:
        InputError: an unknown veto, or whatever `near_pairs` refuses.
    """
    threshold = checked_threshold(threshold)
    vetoes = checked_vetoes(veto)
    (ids, texts, rows), (old_ids, old_texts, old_rows) = new, old
    if len(ids) != len(rows) or len(old_ids) != len(old_rows):
        raise InputError("ids and vectors must be of one length")
    by_text: dict[bytes, int] = {}
    for place, text in enumerate(old_texts):
        by_text.setdefault(plain_digest(text), place)
    found: dict[int, Known] = {}
    for place, text in enumerate(texts):
        partner = by_text.get(plain_digest(text))
        if partner is not None:
            found[place] = Known(ids[place], old_ids[partner], 1.0, "same text")
    unread = None if reader is None else (Unread(texts, reader), Unread(old_texts, reader))
    silent = unread[0].silent if unread is not None else frozenset[int]()
    left = np.array([row for row in range(len(ids)) if row not in found and row not in silent], dtype=np.int64)
    pairs = near_pairs(rows[left], threshold, other=old_rows, max_pairs=max_pairs, progress=progress)
    vetoed: list[Vetoed] = []
    for i, j, score in zip(left[pairs.i].tolist(), pairs.j.tolist(), pairs.score.tolist(), strict=True):
        why = differences(profile(texts[i]), profile(old_texts[j]), vetoes) if vetoes else {}
        if unread is not None:
            unseen = unread[0].between(i, unread[1], j, score)
            if unseen is not None:
                why.update(unread[0].why(unseen, i, unread[1], j))
        if why:
            vetoed.append(Vetoed(ids[i], old_ids[j], score, why))
        elif i not in found:  # pairs come best first
            found[i] = Known(ids[i], old_ids[j], score, "near")
    return AgainstReport(
        threshold=threshold,
        total=len(ids),
        known=tuple(found[place] for place in sorted(found)),
        new=tuple(name for place, name in enumerate(ids) if place not in found),
        vetoed=tuple(vetoed),
        stats=pairs.stats,
        unread=tuple(ids[place] for place in sorted(silent)),
    )
