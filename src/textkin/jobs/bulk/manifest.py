"""What a job writes down about itself: its settings, and a marker for each shard that is complete."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from textkin.errors import InputError, ModelMismatchError, NewerVersionError, StoreError
from textkin.jobs.bulk.place import WORK, Place, read_json, write_json
from textkin.vectors.outputs import JOB

REJECTS: Final = "_rejects.jsonl"
MARKERS: Final = f"{WORK}/shards"
SHARD_REJECTS: Final = f"{WORK}/rejects"
FORMAT: Final = "textkin-vectors"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Marker:
    """A shard that is complete.

    Attributes:
        number: from 0, in the order of the input.
        digest: of its rows and rejects, as they were read.
        file: its Parquet file; None where no row of it has a vector.
        rows: with a vector.
        bytes: of the file.
        sha256: of the file.
        truncated: rows of which the model read only the beginning.
        rejected: rows that could not be used.
        failed: rows that the model's provider refused.
        embedded: different texts that were sent to the model when the shard was made.
        from_ledger: rows whose vector was known then.
        tokens: of the texts that were embedded.
    """

    number: int
    digest: str
    file: str | None
    rows: int
    bytes: int
    sha256: str
    truncated: int
    rejected: int
    failed: int
    embedded: int
    from_ledger: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What has to be the same in each run of a job, or the shards of two runs would not fit together.

    Attributes:
        model: its name.
        fingerprint: the model's.
        dimensions: of the vectors that are written.
        dtype: ``float32``, ``float16``, ``int8`` or ``binary``.
        columns: as `Columns.to_text`; empty until they are known.
        text: whether texts are written.
        shard_rows: rows of a shard, rejects counted.
        world: how many processes share the work.
    """

    model: str
    fingerprint: str
    dimensions: int
    dtype: str
    columns: str
    text: bool
    shard_rows: int
    world: int


_OPTIONS: Final = {
    "dimensions": "--dimensions",
    "dtype": "--dtype",
    "columns": "--column",
    "text": "--no-text",
    "shard_rows": "--shard-rows",
    "world": "--world",
}


def file_name(number: int, digest: str) -> str:
    """The Parquet file of a shard."""
    return f"part-{number:06d}-{digest[:12]}.parquet"


def read_settings(place: Place) -> Settings | None:
    """The settings of the job that wrote here; None where none did.

    Raises:
        NewerVersionError: a newer textkin wrote them.
        StoreError: they can't be read.
    """
    facts = read_json(place, JOB)
    if facts is None:
        return None
    check_version(facts, f"{place.name}/{JOB}")
    try:
        return Settings(**{field.name: facts[field.name] for field in dataclasses.fields(Settings)})
    except KeyError as error:
        raise StoreError(f"{place.name}/{JOB} lacks {error}; choose another folder") from error


def write_settings(place: Place, settings: Settings) -> None:
    """Keep the settings, before the first shard."""
    write_json(place, JOB, {"format": FORMAT, "version": VERSION} | asdict(settings))


def refuse_other(place: Place, there: Settings, now: Settings) -> None:
    """Refuse to go on with a job under other settings.

    Raises:
        ModelMismatchError: another model.
        InputError: another option; names it.
    """
    if there.fingerprint != now.fingerprint:
        raise ModelMismatchError(
            f"{place.name} holds vectors of {there.model} (fingerprint {there.fingerprint[:8]}…), not of "
            f"{now.model} ({now.fingerprint[:8]}…); go on with that model, or write to another folder"
        )
    for name, option in _OPTIONS.items():
        if getattr(there, name) != getattr(now, name):
            shown = "" if name in ("columns", "text") else f" {getattr(there, name)}, not {getattr(now, name)}"
            raise InputError(
                f"{place.name} was begun with another {option}{shown}; give what was given then, or write to "
                "another folder"
            )


def check_version(facts: Mapping[str, Any], name: str) -> None:
    """Refuse what isn't ours, or newer.

    Raises:
        StoreError: something else.
        NewerVersionError: a newer textkin wrote it.
    """
    if facts.get("format") != FORMAT or type(facts.get("version")) is not int:
        raise StoreError(f"{name} was not written by textkin; choose another folder")
    if facts["version"] > VERSION:
        raise NewerVersionError(
            f"{name} has version {facts['version']}; this textkin reads up to {VERSION}: update it"
        )


def write_marker(place: Place, marker: Marker) -> None:
    """Say that a shard is complete; its file is in place already."""
    write_json(place, _marker_name(marker.number), asdict(marker))


def read_markers(place: Place) -> Iterator[Marker]:
    """The shards that are complete and whose file is there in its full size, by number.

    What a killed process left damaged is as if it were not there: the shard is made again.
    """
    files = place.sizes()
    for name in sorted(place.sizes(MARKERS)):
        if not name.endswith(".json"):
            continue
        try:
            marker = marker_of(read_json(place, f"{MARKERS}/{name}") or {})
        except (StoreError, TypeError, KeyError):
            continue
        if marker.file is None or files.get(marker.file) == marker.bytes:
            yield marker


def marker_of(facts: Mapping[str, Any]) -> Marker:
    """A marker from JSON.

    Raises:
        KeyError: it lacks something.
    """
    return Marker(**{field.name: facts[field.name] for field in dataclasses.fields(Marker)})


def remove_stale(place: Place, keep: Iterable[Marker]) -> None:
    """Remove shards, rejects and markers that the manifest does not name; only after the manifest is in place."""
    kept = {marker.number: marker for marker in keep}
    files = {marker.file for marker in kept.values()}
    for name in place.sizes():
        if name.startswith("part-") and name.endswith(".parquet") and name not in files:
            place.remove(name)
    named = {_marker_name(marker.number) for marker in kept.values()}
    named |= {rejects_name(marker.number, marker.digest) for marker in kept.values()}
    for folder in (MARKERS, SHARD_REJECTS):
        for name in place.sizes(folder):
            if f"{folder}/{name}" not in named:
                place.remove(f"{folder}/{name}")


def rejects_name(number: int, digest: str) -> str:
    """Where the rejects of one shard are, also after all were put together."""
    return f"{SHARD_REJECTS}/{number:06d}-{digest[:12]}.jsonl"


def _marker_name(number: int) -> str:
    return f"{MARKERS}/{number:06d}.json"
