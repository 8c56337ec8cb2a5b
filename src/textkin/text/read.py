"""Files, folders, globs, tables and stdin into records: the one entry."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from textkin.errors import FileReadError, InputError, MissingDependencyError
from textkin.text import decode
from textkin.text.csv_table import csv_table
from textkin.text.digest import well_formed
from textkin.text.files import Argument, Found, absolute, check_patterns, find_files, parse_argument
from textkin.text.json_table import json_table, jsonl_table
from textkin.text.kinds import TABLES, Kind, kind_of, suffix_of, unreadable_reason
from textkin.text.markup import html_to_text
from textkin.text.options import OnNote, OnRow, OnSkip, ReadOptions, Skipped, ignore_note, ignore_row, ignore_skip
from textkin.text.parquet_table import parquet_table
from textkin.text.tables import SeenIds, Table, choose_columns, records_of
from textkin.types import Record


def read_inputs(
    paths: Sequence[str | Path],
    *,
    options: ReadOptions | None = None,
    on_skip: OnSkip = ignore_skip,
    on_note: OnNote = ignore_note,
    on_row: OnRow = ignore_row,
    stdin: BinaryIO | None = None,
) -> Iterator[Record]:
    """Read texts from wherever they lie, one record at a time.

    A text, HTML or code file is one record, with its path as id and its suffix as metadata. A table (CSV, TSV,
    JSONL, JSON, also gzipped, and Parquet) is one record a row: the id column's value or ``path:row`` as id, the
    other columns as metadata. ``-`` is stdin: JSONL when its first line is an object, else one text a line. Memory
    stays constant for CSV, JSONL and Parquet; a JSON file is loaded whole.

    Args:
        paths: files, folders, globs such as ``docs/**/*.md`` (they find files, not folders), or ``-``. A file that
            several of them find is read once.
        options: how to read.
        on_skip: told of each file and row that gave no record.
        on_note: told of each file whose encoding was guessed.
        on_row: told of each row of a table that gives a record, with all its values as they were read.
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
        if argument.pattern and next(find_files(argument, options, ignore_skip), None) is None:
            raise InputError(f"the pattern {argument.name!r} matches no file")
        if not argument.is_folder:
            _check_kind(argument)
    return _Reading(options, on_skip, on_note, on_row, stdin).records(arguments)


def _check_kind(argument: Argument) -> None:
    reason = unreadable_reason(argument.name) if kind_of(argument.name)[0] is Kind.UNKNOWN else None
    if reason:
        raise InputError(f"{argument.name} is {reason}. Leave it out; inside a folder such files are passed over")


class _Reading:
    """One call of `read_inputs`."""

    def __init__(
        self, options: ReadOptions, on_skip: OnSkip, on_note: OnNote, on_row: OnRow, stdin: BinaryIO | None
    ) -> None:
        self._options = options
        self._on_row = on_row
        self._on_skip = on_skip
        self._on_note = on_note
        self._stdin = stdin
        self._ids = SeenIds()

    def records(self, arguments: Sequence[Argument | None]) -> Iterator[Record]:
        done: set[str] = set()
        several = len(arguments) > 1
        for argument in arguments:
            if argument is None:
                yield from self._standard_input()
                continue
            for found in find_files(argument, self._options, self._on_skip):
                if several:
                    place = absolute(found.path)
                    if place in done:
                        continue
                    done.add(place)
                yield from self._guarded(found)

    def _guarded(self, found: Found) -> Iterator[Record]:
        """Read one file; what goes wrong ends the run only when the user named the file himself."""
        problem: FileReadError | MissingDependencyError
        try:
            yield from self._file(found)
            return
        except (FileReadError, MissingDependencyError) as error:
            problem = error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = FileReadError(f"{found.name} is not a whole gzip file: {error}")
        except UnicodeDecodeError as error:
            problem = FileReadError(f"{found.name} changed while it was read: {error}")
        except OSError as error:
            problem = FileReadError(f"{found.name} can't be read: {error.strerror or error}")
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
        kind, packed = kind_of(found.name)
        if kind is Kind.PARQUET:
            with found.path.open("rb") as file:
                yield from self._rows(found, lambda: parquet_table(file, found.name))
        elif kind in TABLES:
            yield from self._text_table(found, kind, packed)
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
        with found.path.open("rb") as file:
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
        suffix = suffix_of(found.name)
        yield Record(found.name, well_formed(text), {"suffix": suffix} if suffix else {}, found.source)

    def _text_table(self, found: Found, kind: Kind, packed: bool) -> Iterator[Record]:
        def opened() -> BinaryIO:
            return cast(BinaryIO, gzip.open(found.path, "rb")) if packed else found.path.open("rb")

        def blocks() -> Iterator[bytes]:
            with opened() as file:
                yield from decode.read_blocks(file)

        with opened() as file:
            head = file.read(65_536)
        reason = decode.binary_reason(head)
        if reason:
            self._pass_over(found, reason)
            return
        # JSON Lines are UTF-8: a line that isn't is one bad line, not a reason to guess.
        sure = kind is Kind.JSONL and not decode.marked(head) and not self._options.encoding
        encoding = "utf-8" if sure else self._encoding(found, blocks)

        @contextlib.contextmanager
        def opened_text() -> Iterator[TextIO]:
            with opened() as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
                yield text

        if kind is Kind.CSV:
            tabs = suffix_of(found.name.removesuffix(".gz")) in ("tsv", "tab")
            yield from self._rows(found, lambda: csv_table(opened_text, found.name, tabs))
        elif kind is Kind.JSON:
            with opened_text() as file_text:
                content = file_text.read()
            yield from self._rows(found, lambda: json_table(content, found.name))
        elif sure:
            with opened() as file:
                yield from self._rows(found, lambda: jsonl_table(enumerate(file, start=1), found.name))
        else:
            with opened_text() as file_text:
                yield from self._rows(found, lambda: jsonl_table(enumerate(file_text, start=1), found.name))

    def _rows(self, found: Found, open_table: Callable[[], Table]) -> Iterator[Record]:
        try:
            table = open_table()
            columns = choose_columns(table, self._options, found.name)
        except FileReadError:
            raise
        except InputError as error:
            if found.direct:
                raise
            self._pass_over(found, str(error).removeprefix(found.name).lstrip(": "))
            return
        yield from records_of(table, columns, found.name, found.source, self._on_skip, self._ids, self._on_row)

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
        lines = _numbered_lines(self._stdin or sys.stdin.buffer)
        skipped: list[tuple[int, bytes]] = []
        for number, line in lines:
            skipped.append((number, line))
            if line.strip():
                break
        if not any(line.strip() for _, line in skipped):
            raise InputError("nothing came through stdin; pipe texts to it, a line each, or JSON Lines")
        every = itertools.chain(skipped, lines)
        if skipped and _is_object(skipped[-1][1]):
            table = jsonl_table(every, "stdin")
            columns = choose_columns(table, self._options, "stdin")
            yield from records_of(table, columns, "-", "-", self._on_skip, self._ids, self._on_row)
            return
        noted: set[str] = set()
        for number, line in every:
            encoding = decode.detect(lambda line=line: [line], self._options.encoding)  # type: ignore[misc]
            if not line.strip():
                continue
            if encoding is None or b"\0" in line:
                reason = "binary: it holds NUL bytes" if b"\0" in line else f"not {self._options.encoding}"
                self._on_skip(Skipped("-", reason, row=number, source="-"))
                continue
            if encoding.guessed and encoding.name not in noted:
                noted.add(encoding.name)
                self._on_note("-", encoding.name)
            text = well_formed(line.decode(encoding.name).strip())
            if text:
                yield Record(f"-:{number}", text, {}, "-")


def _numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines of stdin from 1, without a byte order mark; UTF-16 is read whole and turned into UTF-8."""
    first = stream.readline()
    mark = decode.marked(first)
    if mark in ("utf-16", "utf-32"):
        first, stream = b"", io.BytesIO((first + stream.read()).decode(mark, "replace").encode())
    return enumerate(itertools.chain([first.removeprefix(codecs.BOM_UTF8)] if first else [], stream), start=1)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
