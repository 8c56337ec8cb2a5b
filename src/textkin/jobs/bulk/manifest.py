"""What a job writes down about itself: its settings, and a marker for each shard that is complete."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from textkin.errors import InputError, ModelMismatchError, NewerVersionError, StoreError
from textkin.jobs.bulk.columns import Columns
from textkin.jobs.bulk.place import WORK, LocalPlace, Place, read_json, write_json
from textkin.vectors.outputs import JOB
from textkin.vectors.sealed import unsealed

REJECTS: Final = "_rejects.jsonl"
MARKERS: Final = f"{WORK}/shards"
SHARD_REJECTS: Final = f"{WORK}/rejects"
NEW: Final = f"{WORK}/new"
"""Where shards wait while the manifest of an earlier run stands: readers go on seeing one whole result."""
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
        embedded: different texts that were sent to the model when this file was made.
        from_ledger: different texts whose vector was known then.
        tokens: of the texts that were embedded then.
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
        wanted: columns as the user asked for them.
        columns: what became of them, as `Columns.to_text`.
        text_columns: that hold the text, as the user named them; empty: found by their usual names.
        id_column: that holds the ids; None: ``FILE:ROW``.
        text: whether texts are written.
        shard_rows: rows of a shard, rejects counted.
        world: how many processes share the work.
    """

    model: str
    fingerprint: str
    dimensions: int
    dtype: str
    wanted: tuple[str, ...]
    columns: str
    text_columns: tuple[str, ...]
    id_column: str | None
    text: bool
    shard_rows: int
    world: int

    def seed(self) -> bytes:
        """What decides a shard's file beside its rows: part of its digest, so that no other file passes for it."""
        parts = (self.fingerprint, self.dimensions, self.dtype, self.columns, self.text)
        return json.dumps(parts).encode("ascii")


_OPTIONS: Final = {
    "dimensions": "--dimensions",
    "dtype": "--dtype",
    "wanted": "--column",
    "text_columns": "--text-column",
    "id_column": "--id-column",
    "text": "--no-text",
    "shard_rows": "--shard-rows",
    "world": "--world",
}


def file_name(number: int, digest: str, failed: Iterable[int] = ()) -> str:
    """The Parquet file of a shard: another one where other rows lack a vector.

    Args:
        number: of the shard.
        digest: of the shard.
        failed: rows that the model's provider refused.
    """
    left = sorted(failed)
    digest = hashlib.sha256(f"{digest}{left}".encode()).hexdigest() if left else digest
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
        found = {field.name: facts[field.name] for field in dataclasses.fields(Settings)}
        lists = {name: tuple(found[name]) for name in ("wanted", "text_columns")}
        settings = Settings(**found | lists)
        if not isinstance(settings.model, str) or not isinstance(settings.fingerprint, str):
            raise TypeError("model and fingerprint must be strings")
        Columns.from_text(settings.columns)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{place.name}/{JOB} is damaged ({type(error).__name__}: {error}); remove it and run the job again "
            "with --resume: files that are complete are kept"
        ) from error
    return settings


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
            shown = "" if name == "text" else f" ({_said(there, name)}, not {_said(now, name)})"
            raise InputError(
                f"{place.name} was begun with another {option}{shown}; give what was given then, or write to "
                "another folder"
            )


def _said(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return (" ".join(value) or "none") if isinstance(value, tuple) else str(value or "none")


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
    waiting, files = place.sizes(NEW), place.sizes()
    names = [f"{MARKERS}/{name}" for name in sorted(place.sizes(MARKERS)) if name.endswith(".json")]
    for data in place.read_many(names).values():
        try:
            marker = marker_of(unsealed(data or b""))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if marker.file is None or marker.bytes in (waiting.get(marker.file), files.get(marker.file)):
            yield marker


def marker_of(facts: Mapping[str, Any]) -> Marker:
    """A marker from JSON.

    Raises:
        KeyError: it lacks something.
    """
    return Marker(**{field.name: facts[field.name] for field in dataclasses.fields(Marker)})


def whole(place: Place, marker: Marker) -> bool:
    """Whether a shard's file is what was written; on a disk its checksum says so, elsewhere its size has to do."""
    if marker.file is None or not isinstance(place, LocalPlace):
        return True
    for name in (f"{NEW}/{marker.file}", marker.file):
        path = place.folder / name
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == marker.sha256
    return False


def publish(place: Place, markers: Iterable[Marker]) -> None:
    """Put the files that wait for the manifest in their places."""
    waiting = place.sizes(NEW)
    for marker in markers:
        if marker.file is None or marker.file not in waiting:
            continue
        try:
            place.move(f"{NEW}/{marker.file}", marker.file)
        except StoreError:
            # Another rank that came to its end at the same time may have moved it.
            if place.sizes().get(marker.file) != marker.bytes:
                raise


def remove_stale(place: Place, keep: Iterable[Marker]) -> None:
    """Remove shards, rejects and markers that the manifest does not name; only after the manifest is in place."""
    kept = {marker.number: marker for marker in keep}
    files = {marker.file for marker in kept.values()}
    for folder, kept_files in (("", files), (NEW, set[str | None]())):
        for name in place.sizes(folder):
            if name.startswith("part-") and name.endswith(".parquet") and name not in kept_files:
                place.remove(f"{folder}/{name}" if folder else name)
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
