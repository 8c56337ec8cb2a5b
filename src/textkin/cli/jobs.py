"""``textkin jobs``: the bulk jobs of this user, and what one of them has done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textkin.cli.bulk_progress import status_line
from textkin.cli.output import Column, form_options, say, write_facts, write_rows
from textkin.errors import InputError

if TYPE_CHECKING:
    from textkin.jobs.bulk.registry import Entry

_COLUMNS = (
    Column("state"),
    Column("rows", lambda rows: f"{rows:,}", right=True),
    Column("model"),
    Column("started", lambda started: started[:16].replace("T", " ")),
    Column("place", shrink=True),
)


@click.command()
@click.argument("place", required=False, metavar="[OUT]")
@click.option("--verify", is_flag=True, help="Compare each file of OUT with its checksum.")
@form_options
def jobs(place: str | None, verify: bool, form: str | None) -> None:
    """List the jobs of textkin embed, the last begun first; or say what one of them has done.

    \b
    textkin jobs
    textkin jobs vectors/
    textkin jobs vectors/ --verify
    """
    from textkin.jobs.bulk.registry import entries

    if place is None:
        if verify:
            raise click.UsageError("--verify needs the OUT whose files are to be compared")
        write_rows((_row(entry) for entry in entries()), _COLUMNS, form)
        return
    facts = _inspected(place, verify)
    if form is not None:
        write_rows([facts], _COLUMNS, form)
        return
    write_facts({name: _shown(value) for name, value in facts.items() if value is not None})
    if facts["state"] in ("killed", "stopped"):
        say("To go on, run the same textkin embed command with --resume.")


def _row(entry: Entry) -> dict[str, Any]:
    progress = entry.progress or {}
    return {
        "state": _state(entry),
        "rows": progress.get("rows", 0),
        "model": entry.model,
        "started": entry.started,
        "place": entry.place,
        "inputs": list(entry.inputs),
        "ended": entry.ended,
        "host": entry.host,
        "process": entry.process,
        "progress": dict(progress),
    }


def _state(entry: Entry) -> str:
    if entry.running:
        return "running"
    if entry.ended is None:
        return "killed"
    return entry.ended if entry.ended in ("complete", "stopped") else "waiting" if _waiting(entry) else "failed"


def _waiting(entry: Entry) -> bool:
    return (entry.ended or "").startswith("other ranks")


def _inspected(place: str, verify: bool) -> dict[str, Any]:
    """What is known of one job: from its folder, and from the list of this user's jobs.

    Raises:
        InputError: no job wrote there.
    """
    from textkin.jobs.bulk.finish import read_manifest, totals
    from textkin.jobs.bulk.manifest import read_markers, read_settings
    from textkin.jobs.bulk.place import LocalPlace, place_of
    from textkin.jobs.bulk.registry import entries

    there = place_of(place)
    name = str(there.folder) if isinstance(there, LocalPlace) else there.name
    entry = next((one for one in entries() if one.place in (name, place)), None)
    settings = read_settings(there)
    manifest = None if settings is None else read_manifest(there)
    if settings is None and entry is None:
        raise InputError(f"{place} holds no job of textkin embed; textkin jobs lists those that you have run")
    markers = list(read_markers(there)) if settings is not None else []
    state = _state(entry) if entry is not None else "complete" if manifest else "not complete"
    facts: dict[str, Any] = {"place": place, "state": state}
    if entry is not None:
        facts |= {"started": entry.started, "inputs": list(entry.inputs), "ended": entry.ended}
    if settings is not None:
        facts |= {
            "model": settings.model,
            "fingerprint": settings.fingerprint,
            "vectors": f"{settings.dimensions} numbers, {settings.dtype}",
            "files": sum(marker.file is not None for marker in markers),
        }
        facts |= totals(markers)
    if manifest is not None:
        facts |= {"created": manifest["created"], "duplicate_ids": manifest["duplicate_ids"]}
        facts |= {"spend": manifest["spend"], "encoding": manifest["encoding"]}
    if entry is not None and entry.progress is not None and state in ("running", "killed"):
        facts["progress"] = status_line(dict(entry.progress))
    facts.setdefault("rows", 0)
    facts.setdefault("model", entry.model if entry is not None else None)
    facts.setdefault("started", "")
    if verify:
        from textkin.jobs.bulk.output import VectorOutput

        VectorOutput(Path(place)).verify()
        facts["checksums"] = "every file is as it was written"
    return facts


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return str(value.get("text") or ", ".join(f"{key} {one}" for key, one in value.items()))
    return str(value)
