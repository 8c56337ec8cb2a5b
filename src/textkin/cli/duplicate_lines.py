"""What ``textkin duplicates`` shows of a report: the lines of its table, and the line below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textkin.cli.output import counted, one_line
from textkin.stores.resolve import without_password

if TYPE_CHECKING:
    from textkin.duplicates.evidence import Vetoed
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


def vetoed_parts(vetoed: Sequence[Vetoed], asked: Sequence[str]) -> list[str]:
    """A sentence on the pairs that the asked vetoes kept apart, one on those that the model can't tell apart."""
    parts = []
    by_veto = sum(any(name in pair.why for name in asked) for pair in vetoed)
    if by_veto:
        parts.append(f"{counted(by_veto, 'pair')} vetoed ({', '.join(asked)}).")
    told = [pair for pair in vetoed if "unread" in pair.why and "tokenizer" not in pair.why]
    feared = [pair for pair in vetoed if "tokenizer" in pair.why]
    for unread in filter(None, (told, feared)):
        names = ", ".join(f"{one_line(pair.id, 30)} and {one_line(pair.other, 30)}" for pair in unread[:3])
        more = f" and {len(unread) - 3:,} more" if len(unread) > 3 else ""
        why = "because the texts differ in what the model can't read"
        if unread is feared:
            why = f"because nobody knows here whether the model reads them ({feared[0].why['tokenizer']})"
        parts.append(f"{counted(len(unread), 'pair')} kept apart, {why}: {names}{more}.")
    return parts


def summary_line(report: DuplicateReport, place: str, removed: int | None) -> str:
    """What was found and how, and what became of it; ``removed`` is None where nothing was to be removed."""
    pairs, groups = counted(len(report.pairs), "pair"), counted(len(report), "group")
    parts = [
        f"{counted(report.total, 'record')}, {pairs} at {report.threshold:g} or more, {groups}; "
        f"{counted(len(report.dropped), 'record')} could go."
    ]
    parts += vetoed_parts(report.vetoed, report.evidence.veto)
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
