"""Files that ``textkin duplicates`` writes: the records that stay, and the audit of those that go."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textkin.cli.visible import Writes, for_reader
from textkin.errors import InputError
from textkin.text.tables import compact_json, json_value
from textkin.vectors.writing import replacing, target_of

if TYPE_CHECKING:
    from textkin.types import Record


LINES: Final = (".jsonl", ".csv", ".tsv", ".json", ".ndjson")
"""Suffixes of tables of rows; all but .csv and .tsv hold JSON lines."""


def kept_rows(
    records: Iterable[Record], rows: Mapping[str, Mapping[str, Any]], kept: Iterable[str]
) -> Iterator[Mapping[str, Any]]:
    """The rows of the records that stay, with all their fields as they were read.

    A record that came from no table has its id, its text and its metadata; metadata that are named ``id`` or
    ``text`` are called ``metadata.id`` and ``metadata.text``.
    """
    staying = frozenset(kept)
    for record in records:
        if record.id in staying:
            own = {
                f"metadata.{name}" if name in ("id", "text") else name: value
                for name, value in record.metadata.items()
            }
            yield rows.get(record.id) or {"id": record.id, "text": record.text, **own}


def write_lines(path: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a file, by the rule of `textkin.vectors.writing`: CSV or TSV by its suffix, else JSON Lines.

    Returns:
        How many.

    Raises:
        InputError, StoreError: as `replacing`.
    """
    suffix = Path(path).suffix.lower()
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        if suffix in (".csv", ".tsv"):
            count = _write_table(for_reader(text), rows, "\t" if suffix == ".tsv" else ",")
        else:
            count = _write_jsonl(for_reader(text), rows)
        text.flush()
        text.detach()
    return count


def check_writable(path: str | None, kinds: Collection[str] = LINES) -> None:
    """Refuse a place that can't hold a file before any work is done.

    Args:
        path: None is fine.
        kinds: suffixes that it may have; a name without one is fine where ``.jsonl`` is among them.

    Raises:
        InputError, ReadOnlyError: as `target_of`, or its name promises another kind of file.
    """
    if path is None:
        return
    target_of(path)
    suffix = Path(path).suffix.lower()
    if suffix not in kinds and (suffix or ".jsonl" not in kinds):
        raise InputError(f"{path}: what is written here is {' or '.join(kinds)}; name the file so")


def check_apart(read: Sequence[str], written: Sequence[str | None]) -> None:
    """Refuse to write over what is read, or twice into one file, under whatever names.

    Raises:
        InputError: naming the file.
    """
    taken = {Path(path).resolve() for path in read}
    taken |= {place.with_suffix(".npy") for place in taken if place.suffix}
    for path in written:
        target = None if path is None else target_of(path)
        if target is None or target.streamed:
            continue
        if target.place in taken:
            raise InputError(f"{path} is read, or written, by this very command; name another file")
        taken.add(target.place)


def check_outside(folders: Sequence[str], written: Sequence[str | None]) -> None:
    """Refuse to write into a folder whose files belong together: who reads it would read that file too.

    Raises:
        InputError: naming the file.
    """
    for path in written:
        for folder in folders:
            if path is not None and Path(path).resolve().is_relative_to(Path(folder).resolve()):
                raise InputError(f"{path} lies in {folder}, whose files belong together; name a file elsewhere")


def _write_jsonl(file: Writes, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(json_value(row), ensure_ascii=False, allow_nan=False) + "\n")
        count += 1
    return count


def _write_table(file: Writes, rows: Iterable[Mapping[str, Any]], between: str) -> int:
    listed = list(rows)
    columns = list(dict.fromkeys(column for row in listed for column in row))
    writer = csv.DictWriter(file, columns, delimiter=between, lineterminator="\n")
    writer.writeheader()
    for row in listed:
        writer.writerow(
            {name: compact_json(value) if isinstance(value, dict | list) else value for name, value in row.items()}
        )
    return len(listed)
