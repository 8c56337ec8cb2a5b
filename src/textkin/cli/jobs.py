"""``textkin jobs``: the bulk jobs of this user, and what one of them has done."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from textkin.cli.bulk_progress import status_line
from textkin.cli.output import Column, form_options, say, write_facts, write_rows
from textkin.errors import CorruptStoreError, InputError
from textkin.vectors.outputs import MANIFEST

if TYPE_CHECKING:
    from textkin.jobs.bulk.place import Place
    from textkin.jobs.bulk.registry import Entry

_COLUMNS = (
    Column("state"),
    Column("rows", lambda rows: f"{rows:,}", right=True),
    Column("model"),
    Column("rank", right=True),
    Column("started", lambda started: started[:16].replace("T", " ")),
    Column("place", shrink=True),
)
_FIRST: Final = ("running", "unknown", "killed", "failed", "stopped")
"""What is said of a job whose ranks are in several states."""


@click.command()
@click.argument("place", required=False, metavar="[OUT]")
@click.option("--verify", is_flag=True, help="Compare each file of OUT with its checksum.")
@click.option("--forget", is_flag=True, help="Remove OUT from the list; OUT itself stays as it is.")
@form_options
def jobs(place: str | None, verify: bool, forget: bool, form: str | None) -> None:
    """List the jobs of textkin embed, the last begun first; or say what one of them has done.

    OUT is what was named with -o or --to. --forget also removes what lies in your data folder because of the
    job: its list of rejects (--to), and its own ledger (--no-ledger).

    \b
    textkin jobs
    textkin jobs vectors/
    textkin jobs vectors/ --verify
    textkin jobs vectors/ --forget
    """
    from textkin.jobs.bulk.registry import entries

    if verify and forget:
        raise click.UsageError("give --verify or --forget, not both")
    if place is None:
        if verify or forget:
            raise click.UsageError(f"--{'verify' if verify else 'forget'} needs the OUT that is meant")
        write_rows((_row(entry) for entry in entries()), _COLUMNS, form)
        return
    if forget:
        _forget(place)
        return
    facts = _inspected(place, verify)
    if form is not None:
        write_rows([facts], _COLUMNS, form)
        return
    write_facts({name: _shown(value) for name, value in facts.items() if value is not None and name != "rank"})
    if facts["state"] in ("killed", "stopped"):
        say("To go on, run the same textkin embed command with --resume.")
    elif facts["state"] == "unknown":
        say(f"Whether it still runs can only be seen on {facts['host']}.")


def _row(entry: Entry) -> dict[str, Any]:
    progress = entry.progress or {}
    return {
        "state": _state([entry]),
        "rows": progress.get("rows", 0),
        "model": entry.model,
        "started": entry.started,
        "place": entry.place,
        "inputs": list(entry.inputs),
        "ended": entry.ended,
        "host": entry.host,
        "process": entry.process,
        "rank": entry.rank,
        "told": entry.told,
        "progress": dict(progress),
    }


def _state(ranks: Sequence[Entry]) -> str:
    """The state of a job from those of its processes; what was removed since is gone."""
    place = Path(ranks[0].place)
    if place.is_absolute() and not place.exists() and not any(entry.running for entry in ranks):
        return "gone"
    states = {entry.state for entry in ranks}
    for state in _FIRST:
        if state in states:
            return state
    # Whoever ends last knows whether all is there.
    return max(ranks, key=lambda entry: (entry.finished or "", entry.state == "complete")).state


def _forget(place: str) -> None:
    from textkin.jobs.bulk.registry import forget

    if not forget(_address(place)[0]):
        raise _unknown(place)
    say(f"{_address(place)[0]} is no longer in the list")


def _address(place: str) -> tuple[str, Place | None]:
    """How the list names a place, and its folder; a database has none."""
    from textkin.jobs.bulk.place import place_of
    from textkin.jobs.bulk.registry import named
    from textkin.stores.resolve import is_database

    there = None if is_database(place) else place_of(place)
    return named(there or place), there


def _unknown(place: str) -> InputError:
    from textkin.jobs.bulk.registry import named

    return InputError(f"{named(place)} holds no job of textkin embed; textkin jobs lists those that you have run")


def _inspected(place: str, verify: bool) -> dict[str, Any]:
    """What is known of one job: from its folder, and from the list of this user's jobs.

    Raises:
        InputError: no job wrote there.
    """
    from textkin.jobs.bulk.finish import read_manifest, totals
    from textkin.jobs.bulk.manifest import read_markers, read_settings
    from textkin.jobs.bulk.place import LocalPlace
    from textkin.jobs.bulk.registry import entries
    from textkin.jobs.bulk.verifying import verify_files

    name, there = _address(place)
    ranks = [entry for entry in entries() if entry.place == name]
    # A collection may be a file, and has nothing to read here.
    if isinstance(there, LocalPlace) and ranks and there.folder.is_file():
        there = None
    settings = None if there is None else read_settings(there)
    manifest = None if there is None else read_manifest(there)
    if settings is None and manifest is None and not ranks:
        raise _unknown(place)
    facts: dict[str, Any] = {"place": name}
    if there is not None and settings is not None:
        markers = list(read_markers(there))
        facts |= {
            "model": settings.model,
            "fingerprint": settings.fingerprint,
            "vectors": f"{settings.dimensions} numbers, {settings.dtype}",
            "files": sum(marker.file is not None for marker in markers),
        }
        facts |= totals(markers)
    state = _state(ranks) if ranks else "complete" if manifest else "not complete"
    facts = {"place": name, "state": state} | _begun(ranks) | facts
    if manifest is not None:
        facts |= _result(manifest, f"{name}/{MANIFEST}")
    if verify:
        if there is None or (settings is None and manifest is None):
            raise InputError(f"{name} is no folder of a job that is complete: there is nothing to verify")
        verify_files(there)
        facts["checksums"] = "every file is as it was written"
    return facts


def _result(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a complete job says of its result.

    Raises:
        CorruptStoreError: it lacks something; names it.
    """
    from textkin.jobs.bulk.finish import COUNTED

    try:
        facts = {key: manifest[key] for key in (*COUNTED, "created", "duplicate_ids", "spend", "encoding")}
        facts |= {"model": manifest["model"]["name"], "fingerprint": manifest["fingerprint"]}
        facts["vectors"] = f"{manifest['dimensions']} numbers, {manifest['dtype']}"
        facts["files"] = sum(told["file"] is not None for told in manifest["shards"])
    except (KeyError, TypeError) as error:
        raise CorruptStoreError(
            f"{name} is damaged (it lacks {error}); run the same textkin embed command again with --resume"
        ) from error
    return facts


def _begun(ranks: Sequence[Entry]) -> dict[str, Any]:
    """What the list knows of a job; what a folder says of itself comes before it."""
    if not ranks:
        return {"rows": 0, "model": None, "started": "", "rank": 0}
    last = ranks[0]
    facts: dict[str, Any] = {
        "started": last.started,
        "inputs": list(last.inputs),
        "ended": last.ended,
        "host": last.host,
        "model": last.model,
        "rank": last.rank,
        "rows": sum((entry.progress or {}).get("rows", 0) for entry in ranks),
    }
    if last.progress is not None:
        facts["told"] = last.told
        if last.state in ("running", "killed", "unknown"):
            # Another version may have told less.
            with contextlib.suppress(KeyError):
                facts["progress"] = status_line(dict(last.progress))
    return facts


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return str(value.get("text") or ", ".join(f"{key} {one}" for key, one in value.items()))
    return str(value)
