"""What ``textkin duplicates`` shows of a report: the lines of its table, and the line below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from textkin.cli.output import counted
from textkin.stores.resolve import without_password

if TYPE_CHECKING:
    from textkin.duplicates.groups import DuplicateReport


def table_rows(report: DuplicateReport, texts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row for each record of a group, with its text, group by group."""
    for number, group in enumerate(report, 1):
        yield {"group": number, "what": "keep", "score": None, "id": group.kept, "text": texts[group.kept]}
        for record in group.dropped:
            yield {
                "group": "",
                "what": record.reason,
                "score": record.score,
                "id": record.id,
                "text": texts[record.id],
            }


def summary_line(report: DuplicateReport, place: str, removed: int | None) -> str:
    """What was found and how, and what became of it; ``removed`` is None where nothing was to be removed."""
    pairs, groups = counted(len(report.pairs), "pair"), counted(len(report), "group")
    parts = [
        f"{counted(report.total, 'record')}, {pairs} at {report.threshold:g} or more, {groups}; "
        f"{counted(len(report.dropped), 'record')} could go."
    ]
    if report.vetoed:
        parts.append(f"{counted(len(report.vetoed), 'pair')} vetoed ({', '.join(report.evidence.veto)}).")
    work = report.work
    recall = None if work is None else work.recall
    if recall is None:
        again = ""
        if work is not None and work.how == "incremental":
            again = (
                f" (the last join was remembered; {counted(work.new, 'record')} came since, and "
                f"{counted(work.compared, 'pair')} of those with all were compared now)"
                if work.new
                else " (all of it remembered from the last join: no record came since)"
            )
        parts.append(f"Exact: no pair was missed{again};")
    else:
        parts.append(f"Approximate: {recall.summary};")
    if not removed:
        parts.append("nothing was removed.")
    else:
        undo = f"textkin duplicates {without_password(place)} --undo"
        parts.append(f"{counted(removed, 'record')} removed; {undo} brings them back.")
    return " ".join(parts)
