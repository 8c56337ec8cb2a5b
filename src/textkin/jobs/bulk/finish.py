"""The end of a job: all shards are there, so the rejects are put together and the manifest is swapped in."""

from __future__ import annotations

import base64
import datetime
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

from textkin._optional import require
from textkin._version import __version__
from textkin.errors import StoreError
from textkin.jobs.bulk.accounts import account_of
from textkin.jobs.bulk.columns import Columns
from textkin.jobs.bulk.ids import names_of, seen_ids
from textkin.jobs.bulk.manifest import (
    FORMAT,
    NEW,
    REJECTS,
    VERSION,
    Marker,
    Settings,
    publish,
    read_markers,
    rejects_name,
    remove_stale,
)
from textkin.jobs.bulk.parquet import ID
from textkin.jobs.bulk.place import WORK, LocalPlace, Place, read_json, write_json
from textkin.types import StoreHeader
from textkin.vectors.outputs import MANIFEST

COUNTED: Final = ("rows", "bytes", "truncated", "rejected", "failed")
"""What is summed over shards."""


def complete_markers(place: Place, digests: Sequence[str]) -> list[Marker]:
    """The markers of all shards of the input, by number.

    Raises:
        StoreError: some are not there.
    """
    found = {
        marker.number: marker
        for marker in read_markers(place)
        if marker.number < len(digests) and marker.digest == digests[marker.number]
    }
    missing = next((number for number in range(len(digests)) if number not in found), None)
    if missing is not None:
        raise StoreError(
            f"{place.name} lacks file number {missing} of {len(digests):,}, though every process is done: was it "
            "removed? Run the job again with --resume"
        )
    return [found[number] for number in range(len(digests))]


def totals(markers: Iterable[Marker]) -> dict[str, int]:
    """Sums over shards."""
    listed = list(markers)
    return {name: sum(getattr(marker, name) for marker in listed) for name in COUNTED}


def write_manifest(
    place: Place,
    markers: Sequence[Marker],
    settings: Settings,
    header: StoreHeader,
    columns: Columns,
    *,
    inputs: Sequence[str],
    encoding: Mapping[str, Any] | None,
    seconds: float,
    check_ids: bool,
) -> dict[str, Any]:
    """Put the rejects together, swap the manifest, and remove what an earlier input left.

    Args:
        place: with all the shards.
        markers: of all shards, by number.
        settings: of the job.
        header: the model's facts and canaries.
        columns: that were kept.
        inputs: as the user named them.
        encoding: what the form of the numbers costs; None for float32.
        seconds: that the last run took.
        check_ids: whether ids come from the input and so may come twice.

    Returns:
        The manifest.
    """
    sums = totals(markers)
    account = account_of(place)
    rejects = place.write(REJECTS, lambda file: _gather(place, markers, file))
    twice, named = _twice(place, markers) if check_ids else (0, [])
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "textkin": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": asdict(header.model),
        "fingerprint": header.model.fingerprint,
        "canaries": base64.b64encode(header.canaries.astype("<f4").tobytes()).decode("ascii"),
        "dimensions": settings.dimensions,
        "dtype": settings.dtype,
        "encoding": encoding,
        "columns": columns.described(),
        "text": settings.text,
        "inputs": list(inputs),
        **sums,
        "embedded": account.embedded,
        "from_ledger": account.from_ledger,
        "rejects_sha256": rejects.sha256,
        "duplicate_ids": twice,
        "duplicate_ids_first": named,
        "spend": {
            "runs": account.runs,
            "tokens": account.tokens,
            "lost_tokens": account.lost_tokens,
            "dollars": account.dollars,
        },
        "seconds": round(seconds, 3),
        "shards": [asdict(marker) for marker in markers],
    }
    publish(place, markers)
    write_json(place, MANIFEST, facts)
    remove_stale(place, markers)
    return facts


def read_manifest(place: Place) -> dict[str, Any] | None:
    """The manifest; None where no job was completed."""
    return read_json(place, MANIFEST)


def _gather(place: Place, markers: Sequence[Marker], file: BinaryIO) -> None:
    for marker in markers:
        if marker.rejected or marker.failed:
            file.write(place.read(rejects_name(marker.number, marker.digest)) or b"")


def _twice(place: Place, markers: Sequence[Marker]) -> tuple[int, list[str]]:
    parquet = require("pyarrow.parquet", extra="bulk")
    waiting = place.sizes(NEW)

    def batches() -> Iterator[list[str]]:
        for marker in markers:
            if marker.file is None:
                continue
            with place.open(f"{NEW}/{marker.file}" if marker.file in waiting else marker.file) as source:
                for batch in parquet.ParquetFile(source).iter_batches(columns=[ID]):
                    yield batch.column(0).to_pylist()

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as elsewhere:
        folder = place.folder / WORK if isinstance(place, LocalPlace) else Path(elsewhere)
        with seen_ids(folder, place.owner if isinstance(place, LocalPlace) else "0") as seen:
            for ids in batches():
                seen.add(ids)
            count, some = seen.repeated()
    return count, names_of(batches(), some) if some else []
