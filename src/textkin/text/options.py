"""What a caller chooses about reading, and what he is told about inputs that gave no record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

STDIN_FORMS = ("lines", "csv", "tsv", "json", "jsonl", "parquet")
"""What can come through stdin; of ``lines`` each is a text."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files become records.

    Attributes:
        text_column: column (or columns, joined by a line break) that holds the text of a table's row;
            None looks for the usual names, then for the only column of texts.
        id_column: column that holds the ids; None makes ``path:row``.
        encoding: of every file without a byte order mark; None detects it.
        include: patterns of the files to take from folders; empty takes all that can be read. A pattern
            without ``/`` is compared with the file's name, any other with its path inside the folder.
            A file that is included by pattern is read as text whatever its suffix.
        exclude: patterns of files and folders to leave out of folders and globs.
        hidden: also take files and folders whose name starts with a dot.
        header: whether the first row of a CSV names its columns; None decides by what the rows look like, and
            refuses a file where that can't be told. Without names the columns are ``column_1``, ``column_2`` …
        max_text: the most characters of a text; a row or a file with a longer one is named and left out, before
            it is built.
        columns: which columns a table's rows carry beside text and id, by their exact names; None takes all.
            What is not asked for is not read from Parquet, and costs a CSV no pass that types it.
        bulk: for jobs that run for days over any number of rows, where no bad row may end the run and nothing
            may grow with the rows. Then each row of a table (a blank line is none) gives one record or one
            `Skipped` with its number; an id that is missing or can't be one is such a bad row, ids are not checked
            for being unique, a text must be a string (or bytes that are UTF-8), and values come as `OnTable` says.
        stdin_format: what comes through ``-``, one of `STDIN_FORMS`; None tells by its content.
    """

    text_column: str | tuple[str, ...] | None = None
    id_column: str | None = None
    encoding: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    header: bool | None = None
    max_text: int = 10_000_000
    columns: tuple[str, ...] | None = None
    bulk: bool = False
    stdin_format: str | None = None

    def __post_init__(self) -> None:
        for name in ("include", "exclude", "columns"):
            given = getattr(self, name)
            if given is not None:
                # One pattern or column given as a str is one, not its letters.
                object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The chosen text columns; empty when they are to be found."""
        if self.text_column is None:
            return ()
        return (self.text_column,) if isinstance(self.text_column, str) else tuple(self.text_column)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that gave no record, and why.

    Attributes:
        path: as a record's id would name it.
        reason: for people.
        kind: ``skipped``: there is nothing for us in it; ``failed``: it could not be read this time,
            so records that came from it earlier must not be taken for gone.
        row: of a table, 1-based (the line for JSONL and stdin); None: the whole file or folder.
        source: the argument that led here, as in ``Record.source``.
        any_id: the records of the file have ids of their own, which don't tell their file.
        id: that the record would have had, where it is known.
    """

    path: str
    reason: str
    kind: Literal["skipped", "failed"] = "skipped"
    row: int | None = None
    source: str | None = None
    any_id: bool = False
    id: str | None = None


class Unread:
    """Inputs that could not be read this time, asked for many records: which may come from one of them?"""

    def __init__(self) -> None:
        self._paths: dict[str | None, set[str]] = {}
        self._any_id: set[str | None] = set()

    def add(self, failed: Skipped) -> None:
        """Note one; what was only skipped does not count."""
        if failed.kind != "failed":
            return
        self._paths.setdefault(failed.source, set()).add(failed.path)
        if failed.any_id:
            self._any_id.add(failed.source)

    def may_hold(self, record_id: str, source: str | None) -> bool:
        """Whether an earlier record of a source may come from one of them, so that it has to be kept.

        The time does not depend on how many there are.
        """
        if source in self._any_id:
            return True
        paths = self._paths.get(source)
        if not paths:
            return False
        ends = [place for place, sign in enumerate(record_id) if sign in ":/"]
        return record_id in paths or any(record_id[:end] in paths for end in ends)


OnSkip: TypeAlias = Callable[[Skipped], None]
OnNote: TypeAlias = Callable[[str, str], None]
"""Called with (path, what) where something was decided about a file that could be otherwise: its encoding was
guessed, some of its bytes could not be decoded, its first line is no header. ``what`` is for people."""

OnRow: TypeAlias = Callable[[str, Mapping[str, Any], tuple[str, int]], None]
"""Called with (id, values as they were read, (input, row)) just before each record of a table.

The row is counted from 1; the line for JSONL and stdin.
"""

OnTable: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Called with (name, types) for each table before its first row.

``types`` has the columns that rows carry beside text and id, each with what the format knows of it:

- Parquet: its Arrow type (of a dictionary the type of its values, of an extension its storage). In a bulk job the
  values are such that ``pyarrow.array(values, type)`` gives the column exactly: dates, times and durations are the
  whole numbers that Arrow keeps, nested ones too.
- CSV: "int64", "double", "bool" or "string"; None for a column without values. In a bulk job the values are of
  this type, otherwise they are the cells as written.
- JSON: None; only the values can tell.
"""

OnPosition: TypeAlias = Callable[[int, int | None], None]
"""Called now and then with (bytes read, bytes of all inputs); the latter None when one doesn't tell its size.

Bytes of a compressed file are those on disk; of Parquet, the share of its rows counts.
"""


def ignore_skip(skipped: Skipped) -> None:
    """Take no notice."""


def ignore_row(record_id: str, values: Mapping[str, Any], place: tuple[str, int]) -> None:
    """Take no notice."""


def ignore_table(name: str, types: Mapping[str, Any]) -> None:
    """Take no notice."""


def ignore_note(path: str, what: str) -> None:
    """Take no notice."""
