"""Files, folders, globs, URLs, tables and stdin into records: the one entry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from textkin.errors import FileReadError, InputError, MissingDependencyError
from textkin.text import decode
from textkin.text.digest import well_formed
from textkin.text.files import parse_argument
from textkin.text.found import Argument, Found
from textkin.text.json_table import jsonl_table
from textkin.text.kinds import TABLES, Kind, kind_of, suffix_of, unreadable_reason
from textkin.text.markup import html_to_text
from textkin.text.options import (
    OnNote,
    OnPosition,
    OnRow,
    OnSkip,
    OnTable,
    ReadOptions,
    Skipped,
    ignore_note,
    ignore_row,
    ignore_skip,
    ignore_table,
)
from textkin.text.patterns import check_patterns
from textkin.text.position import Position
from textkin.text.rows import SeenIds, bulk_records_of, records_of, too_long
from textkin.text.standard_input import plain_lines, process_stdin, standard_input
from textkin.text.table_files import opened_table
from textkin.text.tables import Columns, Table, choose_columns
from textkin.types import Record


def read_inputs(
    paths: Sequence[str | Path],
    *,
    options: ReadOptions | None = None,
    on_skip: OnSkip = ignore_skip,
    on_note: OnNote = ignore_note,
    on_row: OnRow = ignore_row,
    on_table: OnTable = ignore_table,
    on_position: OnPosition | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[Record]:
    """Read texts from wherever they lie, one record at a time.

    A text, HTML or code file is one record, with its path as id and its suffix as metadata. A table (CSV, TSV,
    JSONL, JSON, also compressed with gzip or zstd, and Parquet) is one record a row: the id column's value or
    ``path:row`` as id, the other columns as metadata. ``-`` is stdin: JSONL when its first line is an object, else
    one text a line. Memory stays constant for CSV, JSONL and Parquet; a JSON file is loaded whole.

    Args:
        paths: files, folders, globs such as ``docs/**/*.md`` (they find files, not folders), or ``-``. A file that
            several of them find is read once.
        options: how to read.
        on_skip: told of each file and row that gave no record.
        on_note: told of each file whose encoding was guessed.
        on_row: told of each row of a table that gives a record, with its values as they were read.
        on_table: told of each table before its first row, with the types of its columns.
        on_position: told now and then how much has been read. Inputs are walked twice then.
        stdin: read for ``-`` instead of the process's own.

    Raises:
        InputError: at the call: a path that is not there, a glob that matches nothing, options that can't be.
            While reading: a file that was named itself can't be read, or an id that is empty or not unique.
    """
    options = options or ReadOptions()
    decode.check_encoding(options.encoding)
    check_patterns((*options.include, *options.exclude))
    if options.id_column is not None and options.id_column in options.text_columns:
        raise InputError(f"the column {options.id_column!r} can't be both the id and the text")
    if isinstance(paths, str | Path):
        paths = [paths]
    arguments = [None if str(path) == "-" else parse_argument(path) for path in paths]
    if arguments.count(None) > 1:
        raise InputError("- (stdin) can be given only once")
    for argument in arguments:
        if argument is None:
            continue
        if argument.is_pattern and next(argument.find(options, ignore_skip), None) is None:
            raise InputError(f"the pattern {argument.name!r} matches no file")
        if not argument.is_folder:
            _check_kind(argument)
    _check_names([argument for argument in arguments if argument and not argument.is_folder], options)
    reading = _Reading(options, on_skip, on_note, on_row, on_table, stdin)
    return reading.records(arguments, on_position)


def _check_names(files: Sequence[Argument], options: ReadOptions) -> None:
    places: dict[str, str] = {}
    for argument in files:
        for found in argument.find(options, ignore_skip):
            place = found.place()
            if places.setdefault(found.name, place) != place:
                raise _one_name(found.name)


def _one_name(name: str) -> InputError:
    return InputError(
        f"two inputs are called {name}: they differ only in what is never shown, like a user or a query; read "
        "them in two runs"
    )


def _check_kind(argument: Argument) -> None:
    reason = unreadable_reason(argument.name) if kind_of(argument.name)[0] is Kind.UNKNOWN else None
    if reason:
        raise InputError(f"{argument.name} is {reason}. Leave it out; inside a folder such files are passed over")


class _Reading:
    """One call of `read_inputs`."""

    def __init__(
        self,
        options: ReadOptions,
        on_skip: OnSkip,
        on_note: OnNote,
        on_row: OnRow,
        on_table: OnTable,
        stdin: BinaryIO | None,
    ) -> None:
        self._options = options
        self._on_row = on_row
        self._on_table = on_table
        self._on_skip = on_skip
        self._on_note = on_note
        self._stdin = stdin
        self._ids = SeenIds()
        self._position: Position | None = None

    def records(self, arguments: Sequence[Argument | None], on_position: OnPosition | None) -> Iterator[Record]:
        if on_position:
            files = (found for found in self._files(arguments, ignore_skip) if found and self._is_read(found))
            self._position = Position(on_position, files, sized=None not in arguments)
        for found in self._files(arguments, self._on_skip):
            if found is None:
                yield from self._standard_input()
            elif self._position and self._is_read(found):
                yield from self._guarded(self._position.opening(found))
                self._position.done()
            else:
                yield from self._guarded(found)
        if self._position:
            self._position.tell()

    def _files(self, arguments: Sequence[Argument | None], on_skip: OnSkip) -> Iterator[Found | None]:
        """Each file once, under the name that it is found by first; None is stdin."""
        names: dict[str, str] = {}
        places: set[str] = set()
        for argument in arguments:
            if argument is None:
                yield None
                continue
            for found in argument.find(self._options, on_skip):
                if len(arguments) > 1:
                    place = found.place()
                    if place in places:
                        continue
                    places.add(place)
                    if names.setdefault(found.name, place) != place:
                        raise _one_name(found.name)
                yield found

    def _is_read(self, found: Found) -> bool:
        return found.direct or found.chosen or kind_of(found.name)[0] is not Kind.UNKNOWN

    def _guarded(self, found: Found) -> Iterator[Record]:
        """Read one file; what goes wrong ends the run only when the user named the file himself."""
        problem: FileReadError | MissingDependencyError
        try:
            yield from self._file(found)
            return
        except (FileReadError, MissingDependencyError) as error:
            problem = error
        except UnicodeDecodeError as error:
            problem = FileReadError(f"{found.name} changed while it was read: {error}")
        except OSError as error:
            problem = FileReadError(f"{found.name} can't be read: {error.strerror or error}")
        finally:
            found.close()
        if found.direct:
            raise problem
        self._failed(found, str(problem).removeprefix(found.name).lstrip(": "))

    def _pass_over(self, found: Found, reason: str, *, never_ours: bool = False) -> None:
        """Name a file of a folder that can't be used; one that was named itself is an error.

        Unless it is of a kind that never gives records, those that it gave before must not be taken for gone.
        """
        if found.direct:
            raise FileReadError(f"{found.name}: {reason}")
        if never_ours:
            self._on_skip(Skipped(found.name, reason, source=found.source))
        else:
            self._failed(found, reason)

    def _failed(self, found: Found, reason: str) -> None:
        any_id = self._options.id_column is not None and kind_of(found.name)[0] in TABLES
        self._on_skip(Skipped(found.name, reason, "failed", source=found.source, any_id=any_id))

    def _file(self, found: Found) -> Iterator[Record]:
        kind, _ = kind_of(found.name)
        if kind in TABLES:
            yield from self._table(found)
        elif kind is Kind.UNKNOWN and not (found.direct or found.chosen):
            suffix = suffix_of(found.name)
            self._pass_over(
                found,
                unreadable_reason(found.name)
                or f"unknown suffix; name the file itself, or --include '*.{suffix}', to read it as text",
                never_ours=True,
            )
        else:
            yield from self._whole(found, kind)

    def _whole(self, found: Found, kind: Kind) -> Iterator[Record]:
        """A file that is one record."""
        limit = self._options.max_bytes
        with found.open() as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            self._pass_over(found, f"larger than {limit:,} bytes, the limit of one text (--max-bytes)")
            return
        reason = decode.binary_reason(data)
        encoding = None if reason else self._encoding(found, lambda: [data])
        if encoding and "\0" in (text := data.decode(encoding)):
            reason = "binary: it holds NUL bytes"
        if reason:
            self._pass_over(found, reason)
            return
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if kind is Kind.HTML:
            text = html_to_text(text)
        if not text or text.isspace():
            self._on_skip(Skipped(found.name, "no text in it", source=found.source))
            return
        reason = too_long(text, self._options.max_text) if self._options.bulk else ""
        if reason:
            self._on_skip(Skipped(found.name, reason, source=found.source, id=found.name))
            return
        suffix = suffix_of(found.name)
        yield Record(found.name, well_formed(text), {"suffix": suffix} if suffix else {}, found.source)

    def _table(self, found: Found) -> Iterator[Record]:
        with contextlib.ExitStack() as opened:
            try:
                table = opened.enter_context(opened_table(found, self._options, self._encoding))
                columns = choose_columns(table, self._options, found.name)
            except FileReadError:
                raise
            except InputError as error:
                if found.direct:
                    raise
                self._pass_over(found, str(error).removeprefix(found.name).lstrip(": "))
                return
            yield from self._rows(table, columns, found.name, found.source)

    def _rows(self, table: Table, columns: Columns, name: str, source: str) -> Iterator[Record]:
        options, tell, on_row = self._options, self._on_skip, self._on_row
        rows = table.read(columns, options.bulk)
        if self._position:
            rows = self._position.rows(rows)
        self._on_table(name, rows.types)
        if options.bulk:
            return bulk_records_of(rows, columns, name, source, tell, on_row, options.max_text)
        return records_of(rows, columns, name, source, tell, self._ids, on_row)

    def _encoding(self, found: Found, blocks: Callable[[], Iterable[bytes]]) -> str:
        encoding = decode.detect(blocks, self._options.encoding)
        if encoding is None:
            wanted = self._options.encoding or "its byte order mark"
            raise FileReadError(
                f"{found.name} can't be decoded as {wanted} says; leave out --encoding, or convert it to UTF-8"
            )
        if encoding.guessed:
            self._on_note(found.name, encoding.name)
        return encoding.name

    def _standard_input(self) -> Iterator[Record]:
        is_jsonl, lines = standard_input(self._stdin or process_stdin(), self._options)
        if is_jsonl:
            table = jsonl_table(lines, "stdin")
            yield from self._rows(table, choose_columns(table, self._options, "stdin"), "-", "-")
        else:
            yield from plain_lines(lines, self._options, self._on_skip, self._on_note)
