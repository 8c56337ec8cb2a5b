"""The report on near-duplicates: groups, what is kept, what is dropped and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textkin.duplicates.drawing import report_svg
from textkin.duplicates.evidence import Dropped, DuplicateGroup, Evidence, Vetoed, form_groups
from textkin.duplicates.frames import arrow_table, data_frame
from textkin.duplicates.join import JoinStats, NearPairs, checked_threshold
from textkin.duplicates.keep import Keep, content_order, keep_order, rule_name
from textkin.duplicates.stars import Links
from textkin.duplicates.work import Work
from textkin.errors import InputError
from textkin.types import MetadataValue
from textkin.vectors.writing import replacing

__all__ = ["Dropped", "DuplicateGroup", "DuplicateReport", "check_ids", "group", "make_report"]


@dataclass(frozen=True, eq=False)
class DuplicateReport:
    """Star groups: every dropped record is within the threshold of the record kept in its place.

    No two kept records are near-duplicates of each other. (Connected components, where they were asked for,
    promise less: a dropped record may hang on the kept one by a chain.) Iterates over its groups; its length is
    their number.

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
    def work(self) -> Work | None:
        """How the pairs were found; None where that is not known."""
        return self.evidence.work

    @property
    def stats(self) -> JoinStats | None:
        """What the exact join did, the first where it took several; None where there was none."""
        return self.work.joins[0] if self.work is not None and self.work.joins else None

    @cached_property
    def vetoed(self) -> tuple[Vetoed, ...]:
        """Pairs that reach the threshold and are not duplicates because of a veto, best first.

        Of many records with one vector that differ in what the model can't read, each stands here once.
        """
        return tuple(pair for pair in self.evidence.vetoed if pair.score >= self.threshold)

    @property
    def unread(self) -> tuple[str, ...]:
        """Ids of the records of which the model can read nothing: duplicates by their texts only."""
        return self.evidence.unread

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
        recall = None if self.work is None else self.work.recall
        how = "" if recall is None else f"; approximate, {recall.summary}"
        if not self.groups:
            return f"{self.total:,} records, no near-duplicates at {self.threshold:g}{how}"
        gone, groups = len(self._gone), len(self.groups)
        return (
            f"{self.total:,} records: {gone:,} near-duplicate{'s' * (gone != 1)} at {self.threshold:g} in "
            f"{groups:,} group{'s' * (groups != 1)}; {self.total - gone:,} kept ({self.keep}){how}"
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

    def audit(self) -> Iterator[dict[str, Any]]:
        """One row a dropped record with the vetoes that it passed, then one a pair that was vetoed."""
        passed = dict.fromkeys(self.evidence.veto, "same")
        for row in self.rows():
            yield {"what": "dropped", **row, "threshold": self.threshold, "veto": passed}
        for pair in self.vetoed:
            yield {
                "what": "vetoed",
                "id": pair.id,
                "other": pair.other,
                "score": pair.score,
                "threshold": self.threshold,
                "veto": {**passed, **pair.why},
            }

    def to_dict(self) -> dict[str, object]:
        """The whole report as JSON values."""
        return {
            "threshold": self.threshold,
            "keep": self.keep,
            "shape": self.evidence.shape,
            "records": self.total,
            "kept": self.total - len(self._gone),
            "dropped": len(self._gone),
            "work": None if self.work is None else self.work.to_dict(),
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
            "unread": list(self.unread),
            "vetoed": [
                {"id": pair.id, "other": pair.other, "score": pair.score, "why": dict(pair.why)}
                for pair in self.vetoed
            ],
        }

    def to_arrow(self) -> Any:
        """`rows` as a ``pyarrow.Table``; scores are float64, everything else strings.

        Raises:
            MissingDependencyError: pyarrow is not installed (``textkin[parquet]``).
        """
        return arrow_table(self.rows())

    def to_pandas(self) -> Any:
        """`rows` as a ``pandas.DataFrame``.

        Raises:
            MissingDependencyError: pandas is not installed (``textkin[pandas]``).
        """
        return data_frame(self.rows())

    def draw(self, path: str | Path | None = None) -> str:
        """How many pairs have which score, and how large the groups are, as an SVG drawing.

        Args:
            path: also write it to this file.
        """
        scores = [score for _, _, score in self.pairs]
        drawing = report_svg(scores, [1 + len(one.dropped) for one in self.groups], self.threshold, self.summary)
        if path is not None:
            with replacing(path) as file:
                file.write(drawing.encode())
        return drawing

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
    dates: Sequence[MetadataValue] | None = None,
) -> DuplicateReport:
    """Group records by pairs that are already known.

    Args:
        ids: unique; row i of the join is record ``ids[i]``.
        pairs: of a join of the records' vectors with each other.
        threshold: at least that of the join; None: the same.
        keep: see `textkin.duplicates.keep.keep_order`.
        texts: for ``keep="longest"``; with them ties are broken by content, else by position.
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
    ties = None if texts is None or len(texts) != len(ids) else content_order(ids, texts)
    evidence = Evidence(
        ids=tuple(ids),
        links=Links(pairs.i, pairs.j, pairs.score),
        joined_at=pairs.threshold,
        order=keep_order(keep, ids, texts, dates, ties),
        stand_in=own,
        same_text=own,
        same_vector=own,
        work=Work("exact", len(ids), len(ids), pairs.stats.pairs, (pairs.stats,)),
        ties=ties,
    )
    chosen = pairs.threshold if threshold is None else checked_threshold(threshold)
    if chosen < pairs.threshold:
        raise _not_looked_for(pairs.threshold, chosen)
    return make_report(evidence, chosen, rule_name(keep))


def make_report(evidence: Evidence, threshold: float, keep: str) -> DuplicateReport:
    """Group the evidence at a threshold that it was joined at, or a higher one."""
    return DuplicateReport(threshold, keep, form_groups(evidence, threshold), evidence)


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
