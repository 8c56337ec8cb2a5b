"""An .npy of another tool: its rows, with the texts from a file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin._places import absolute
from textkin.errors import FileReadError, InputError
from textkin.stores.foreign.reader import Row
from textkin.stores.options import parse_options
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.types import Record
from textkin.vectors import description as described
from textkin.vectors.npy import map_numbers

_PAGE: Final = 1000
_BESIDE: Final = (".txt", ".jsonl", ".csv", ".tsv", ".parquet", ".json")
_OPTIONS: Final = ("texts", "ids", "text", "id")


class NpyReader:
    """The rows of an ``.npy``; the n-th text belongs to the n-th row.

    Args:
        path: the ``.npy``.
        options: ``texts``: a file of one text a line (``.txt``), or a table; ``text`` and ``id``: its columns;
            ``ids``: a file of one id a line. Without ids a row's number is its id, counted from 0 as NumPy does.

    Raises:
        InputError: no file of texts, or several that may be it.
    """

    unread: tuple[str, ...] = ()

    def __init__(self, path: Path, options: dict[str, str]) -> None:
        self.url = str(path)
        self._path = absolute(path)
        self._texts = absolute(options["texts"]) if "texts" in options else _beside(self._path)
        self._ids = absolute(options["ids"]) if "ids" in options else None
        self._id_column = options.get("id")
        self._text_column = options.get("text")
        if self._is_lines() and (self._id_column or self._text_column):
            raise InputError(f"{self._texts} holds a text a line; it has no columns to name with text= or id=")
        if self._id_column and self._ids:
            raise InputError(f"{path}: the ids come from ids={self._ids} or from the column id=, not from both")

    def close(self) -> None:
        """Nothing is held between two calls."""

    def batches(self) -> Iterator[list[Row]]:
        numbers = map_numbers(self._path)
        ids = None if self._ids is None else iter(_lines(self._ids))
        batch: list[Row] = []
        count = 0
        for record in self._lines() if self._is_lines() else self._table():
            if count < len(numbers):
                own = next(ids, "") if ids is not None else None
                batch.append(self._row(count, record, own, np.asarray(numbers[count])))
            count += 1
            if len(batch) == _PAGE:
                yield batch
                batch = []
        self._check("texts", self._texts, count, len(numbers))
        if self._ids is not None:
            self._check("ids", self._ids, len(_lines(self._ids)), len(numbers))
        if batch:
            yield batch

    def _is_lines(self) -> bool:
        return self._texts.suffix.lower() == ".txt"

    def _row(self, number: int, record: Record | str, own: str | None, vector: npt.NDArray[Any]) -> Row:
        name = own if own is not None else str(number)
        if isinstance(record, str):
            return Row(name, None, {}, vector, f"row {number}: {record}")
        return Row(record.id if self._id_column else name, record.text or None, record.metadata, vector)

    def _lines(self) -> Iterator[Record | str]:
        for line in _lines(self._texts):
            yield Record("", line)

    def _table(self) -> Iterator[Record | str]:
        """A record, or the reason why there is none, for each row of the table."""
        skipped: list[Skipped] = []
        options = ReadOptions(text_column=self._text_column, id_column=self._id_column)
        for record in read_inputs([self._texts], options=options, on_skip=skipped.append):
            yield from self._reasons(skipped)
            yield record
        yield from self._reasons(skipped)

    def _reasons(self, skipped: list[Skipped]) -> Iterator[str]:
        for item in skipped:
            if item.kind == "failed":
                raise FileReadError(
                    f"{self._texts}, row {item.row}: {item.reason}; which text belongs to which row of "
                    f"{self._path} can't be told"
                )
            if item.row is not None:
                yield item.reason
        skipped.clear()

    def _check(self, what: str, path: Path, found: int, expected: int) -> None:
        if found != expected:
            raise InputError(
                f"{self._path} has {expected:,} rows, but {path} has {found:,} {what}; there must be one a row"
            )


def npy_reader(place: str | Path) -> NpyReader | None:
    """The reader of a place that names an ``.npy`` that textkin did not write; None for any other place.

    Raises:
        InputError: an unknown option, or no file of texts.
    """
    written, _, query = str(place).partition("?") if isinstance(place, str) else (str(place), "", "")
    path = Path(written)
    if path.suffix.lower() != ".npy" or not path.is_file() or _is_ours(path):
        return None
    options = parse_options(query)
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        raise InputError(f"{place}: unknown option {unknown!r}; there are " + ", ".join(_OPTIONS))
    return NpyReader(path, options)


def _beside(path: Path) -> Path:
    found = [path.with_suffix(suffix) for suffix in _BESIDE if path.with_suffix(suffix).is_file()]
    if len(found) == 1:
        return found[0]
    which = "several files beside it may hold its texts: " + ", ".join(map(str, found))
    if not found:
        which = f"no texts are beside it ({path.with_suffix('.txt').name}, .jsonl, .csv …)"
    raise InputError(f"{path}: {which}; name the file: '{path}?texts=texts.txt'")


def _is_ours(numbers: Path) -> bool:
    """Whether textkin wrote this, or was killed while it did; a description that is damaged is ours, too."""
    description = described.pair(numbers)[1]
    if described.journal(numbers).is_file() or described.pending(description).is_file():
        return True
    try:
        if any(path.exists() and not path.is_file() for path in (numbers, description)):
            return True  # a pipe, which would be waited for
        told = description.read_bytes()
        return described.format_of(told) is not None or not _is_json(told)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # whoever opens it says why it can't be read


def _is_json(told: bytes) -> bool:
    try:
        json.loads(told)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(path: Path) -> list[str]:
    """The lines of a file in UTF-8; the last may end without a line break."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileReadError(f"{path} is not UTF-8 ({error}); convert it first") from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
