"""The report on near-duplicates: groups, what is kept, what is dropped and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from textkin.duplicates.join import JoinStats, NearPairs, checked_threshold
from textkin.duplicates.keep import Keep, keep_order, rule_name
from textkin.duplicates.stars import Links, Stars, star_groups
from textkin.duplicates.unit_rows import Numbers
from textkin.errors import InputError
from textkin.types import Scalar

Reason: TypeAlias = Literal["same text", "same vector", "near"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """One record that a kept record stands for.

    Attributes:
        id: the record's.
        score: with the kept record; 1.0 for the same text or vector.
        reason: ``same text`` (but for Unicode form and white space), ``same vector``, or ``near``.
        via: the record with the same text or vector whose score this is, where that is a third record.
    """

    id: str
    score: float
    reason: Reason
    via: str | None = None


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """A kept record and those dropped in its favour, highest score first, ties in input order."""

    kept: str
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a report was made from, in record numbers; enough to make it again at a higher threshold.

    Attributes:
        ids: of all records, in input order.
        links: pairs between records that stand for themselves.
        joined_at: the lowest score that was looked for.
        order: of the keep rule; None for ``central``.
        stand_in: ``(n,)``: the record whose vector was joined for this one (itself, mostly).
        same_text: ``(n,)``: equal numbers mean equal texts.
        same_vector: ``(n,)``: equal numbers mean equal vectors.
        stats: of the join.
    """

    ids: tuple[str, ...]
    links: Links
    joined_at: float
    order: Numbers | None
    stand_in: Numbers
    same_text: Numbers
    same_vector: Numbers
    stats: JoinStats | None


@dataclass(frozen=True, eq=False)
class DuplicateReport:
    """Star groups: every dropped record is within the threshold of the record kept in its place.

    No two kept records are near-duplicates of each other. Iterates over its groups; its length is their number.

    Attributes:
        threshold: lowest score of a near-duplicate.
        keep: name of the keep rule.
        groups: in the input order of the kept records.
        evidence: what it was made from.
    """

    threshold: float
    keep: str
    groups: tuple[DuplicateGroup, ...]
    evidence: Evidence = field(repr=False)

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[DuplicateGroup]:
        return iter(self.groups)

    @property
    def total(self) -> int:
        """Records that were compared."""
        return len(self.evidence.ids)

    @property
    def stats(self) -> JoinStats | None:
        """What the join did."""
        return self.evidence.stats

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Ids of the records to drop, in input order."""
        gone = self._gone
        return tuple(record for record in self.evidence.ids if record in gone)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """Ids of all other records, with and without duplicates, in input order."""
        gone = self._gone
        return tuple(record for record in self.evidence.ids if record not in gone)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str, float], ...]:
        """The pairs that the groups rest on, best first.

        Those found by the join, and each record of the same text or vector with the one that stood for it there.
        """
        evidence = self.evidence
        copies = np.flatnonzero(evidence.stand_in != np.arange(self.total))
        links = evidence.links.reaching(self.threshold)
        i = np.concatenate([np.minimum(copies, evidence.stand_in[copies]), np.minimum(links.i, links.j)])
        j = np.concatenate([np.maximum(copies, evidence.stand_in[copies]), np.maximum(links.i, links.j)])
        score = np.concatenate([np.ones(len(copies)), links.score])
        order = np.lexsort((j, i, -score))
        ids = evidence.ids
        return tuple(
            (ids[a], ids[b], s)
            for a, b, s in zip(i[order].tolist(), j[order].tolist(), score[order].tolist(), strict=True)
        )

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.groups:
            return f"{self.total:,} records, no near-duplicates at {self.threshold:g}"
        gone, groups = len(self._gone), len(self.groups)
        return (
            f"{self.total:,} records: {gone:,} near-duplicate{'s' * (gone != 1)} at {self.threshold:g} in "
            f"{groups:,} group{'s' * (groups != 1)}; {self.total - gone:,} kept ({self.keep})"
        )

    def at(self, threshold: float) -> DuplicateReport:
        """The report at a higher threshold, without comparing again.

        Raises:
            InputError: lower than the vectors were joined at.
        """
        threshold = checked_threshold(threshold)
        if threshold < self.evidence.joined_at:
            raise _not_looked_for(self.evidence.joined_at, threshold)
        return make_report(self.evidence, threshold, self.keep)

    def rows(self) -> list[dict[str, str | float | None]]:
        """One flat row a dropped record, group by group, for CSV and JSON Lines."""
        return [
            {
                "id": record.id,
                "kept": group.kept,
                "score": record.score,
                "reason": record.reason,
                "via": record.via,
                "rule": self.keep,
            }
            for group in self.groups
            for record in group.dropped
        ]

    def to_dict(self) -> dict[str, object]:
        """The whole report as JSON values."""
        return {
            "threshold": self.threshold,
            "keep": self.keep,
            "records": self.total,
            "kept": self.total - len(self._gone),
            "dropped": len(self._gone),
            "groups": [
                {
                    "kept": group.kept,
                    "dropped": [
                        {"id": record.id, "score": record.score, "reason": record.reason, "via": record.via}
                        for record in group.dropped
                    ],
                }
                for group in self.groups
            ],
        }

    @cached_property
    def _gone(self) -> frozenset[str]:
        return frozenset(record.id for group in self.groups for record in group.dropped)


def group(
    ids: Sequence[str],
    pairs: NearPairs,
    threshold: float | None = None,
    *,
    keep: Keep = "first",
    texts: Sequence[str] | None = None,
    dates: Sequence[Scalar] | None = None,
) -> DuplicateReport:
    """Group records by pairs that are already known.

    Args:
        ids: unique; row i of the join is record ``ids[i]``.
        pairs: of a join of the records' vectors with each other.
        threshold: at least that of the join; None: the same.
        keep: see `textkin.duplicates.keep.keep_order`.
        texts: for ``keep="longest"``.
        dates: for ``keep="newest"``.

    Raises:
        InputError: ids that repeat or don't fit the pairs, a threshold below the join's, or a keep rule that
            can't be used.
    """
    check_ids(ids)
    if pairs.stats.rows != (len(ids), len(ids)):
        raise InputError(
            f"{len(ids)} ids for a join of {pairs.stats.rows} rows; give one id a row, of a self-join"
        )
    if not (pairs.i < pairs.j).all():
        raise InputError("these pairs are of two sets of rows; groups need the join of one set with itself")
    own = np.arange(len(ids))
    evidence = Evidence(
        ids=tuple(ids),
        links=Links(pairs.i, pairs.j, pairs.score),
        joined_at=pairs.threshold,
        order=keep_order(keep, ids, texts, dates),
        stand_in=own,
        same_text=own,
        same_vector=own,
        stats=pairs.stats,
    )
    chosen = pairs.threshold if threshold is None else checked_threshold(threshold)
    if chosen < pairs.threshold:
        raise _not_looked_for(pairs.threshold, chosen)
    return make_report(evidence, chosen, rule_name(keep))


def make_report(evidence: Evidence, threshold: float, keep: str) -> DuplicateReport:
    """Group the evidence at a threshold that it was joined at, or a higher one."""
    weights = np.bincount(evidence.stand_in, minlength=len(evidence.ids))
    stars = star_groups(len(evidence.ids), evidence.links.reaching(threshold), evidence.order, weights)
    keeper = stars.keeper[evidence.stand_in]
    members: dict[int, list[int]] = {}
    for record in np.flatnonzero(keeper != np.arange(len(keeper))).tolist():
        members.setdefault(int(keeper[record]), []).append(record)
    groups = tuple(
        DuplicateGroup(
            evidence.ids[kept],
            tuple(
                sorted(
                    (_dropped(evidence, stars, record, kept) for record in members[kept]), key=lambda it: -it.score
                )
            ),
        )
        for kept in sorted(members)
    )
    return DuplicateReport(threshold, keep, groups, evidence)


def check_ids(ids: Sequence[str]) -> None:
    """Raise `InputError` when an id occurs twice."""
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        for record in ids:
            if record in seen:
                raise InputError(f"id {record!r} occurs twice; ids must be unique")
            seen.add(record)


def _not_looked_for(joined_at: float, threshold: float) -> InputError:
    return InputError(
        f"pairs below {joined_at:g} were not looked for: find duplicates again with threshold={threshold:g}"
    )


def _dropped(evidence: Evidence, stars: Stars, record: int, kept: int) -> Dropped:
    stand_in = int(evidence.stand_in[record])
    if evidence.same_text[record] == evidence.same_text[kept]:
        return Dropped(evidence.ids[record], 1.0, "same text")
    if evidence.same_vector[record] == evidence.same_vector[kept]:
        return Dropped(evidence.ids[record], 1.0, "same vector")
    via = evidence.ids[stand_in] if stand_in != record else None
    return Dropped(evidence.ids[record], float(stars.score[stand_in]), "near", via)
