"""``textkin duplicates FILE --against COLLECTION``: which of the new records are already there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from textkin._progress import bar
from textkin.cli.duplicate_lines import vetoed_parts
from textkin.cli.fetching import ensure_model_of, open_for_reading
from textkin.cli.file_records import read_files
from textkin.cli.kept_file import kept_rows, write_lines
from textkin.cli.money import spent_lines, telling_what_is_kept
from textkin.cli.output import Column, counted, score_column, talk, text_column, write_object, write_rows
from textkin.cli.reports import tell_unread

if TYPE_CHECKING:
    from textkin.duplicates.against import AgainstReport
    from textkin.jobs.deduplicating import Threshold
    from textkin.models.spending import Budget
    from textkin.text.options import ReadOptions

_COLUMNS = (score_column(), Column("what"), Column("id"), Column("partner"), text_column())


def find_against(
    paths: Sequence[str],
    place: str,
    threshold: Threshold,
    veto: Sequence[str],
    options: ReadOptions,
    output: str | None,
    audit: str | None,
    form: str | None,
    *,
    model: str | None,
    base_url: str | None,
    budget: Budget,
    ledger: bool,
    verbose: bool,
) -> None:
    """Read files, compare them with a collection, and write what was found."""
    from textkin.cli.calibrate import auto_threshold

    records, rows = read_files(paths, options, verbose)
    with (
        open_for_reading(place, model, base_url, budget, ledger=ledger) as collection,
        telling_what_is_kept(collection.spend, ledger=ledger),
    ):
        ensure_model_of(collection)
        if threshold == "auto":
            threshold = auto_threshold(collection)
        with bar("embedding") as progress:
            report = collection.against(records, threshold=threshold, veto=veto, progress=progress)
        spent = collection.spend.spent()
    texts = {record.id: record.text for record in records}
    if form == "json":
        write_object(
            {
                "threshold": report.threshold,
                "records": report.total,
                "known": report.rows(),
                "new": list(report.new),
                "unread": list(report.unread),
            }
            | ({} if spent.model is None else {"spent": spent.to_dict()})
        )
    elif form is None:
        shown = (
            {
                "score": one.score,
                "what": one.reason,
                "id": one.id,
                "partner": one.partner,
                "text": texts[one.id],
            }
            for one in report.known
        )
        write_rows(shown, _COLUMNS, None)
    else:
        write_rows(report.rows(), (), form)
    if output is not None:
        count = write_lines(output, kept_rows(records, rows, report.new))
        talk(f"{output}: {counted(count, 'new record')}")
    if audit is not None:
        talk(f"{audit}: {counted(write_lines(audit, _audit(report)), 'line')}")
    tell_unread(report.unread)
    vetoed = "".join(f"{part} " for part in vetoed_parts(report.vetoed, veto))
    talk(f"{report.summary}. {vetoed}Exact: no pair was missed; nothing was added or removed.")
    for line in spent_lines(spent):
        talk(line)


def _audit(report: AgainstReport) -> Iterator[dict[str, Any]]:
    for row in report.rows():
        yield {"what": "known", **row, "threshold": report.threshold}
    for pair in report.vetoed:
        yield {
            "what": "vetoed",
            "id": pair.id,
            "other": pair.other,
            "score": pair.score,
            "threshold": report.threshold,
            "veto": dict(pair.why),
        }
