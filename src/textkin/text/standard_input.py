"""What comes through stdin: what it is, as its first bytes and lines say, and where it can be read from."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import functools
import io
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias, cast

from textkin.errors import FileReadError, InputError, StorageFullError
from textkin.text import decode
from textkin.text.digest import well_formed
from textkin.text.found import Found
from textkin.text.kinds import Kind, Packing
from textkin.text.lines import lines_of
from textkin.text.options import STDIN_FORMS, OnNote, OnSkip, ReadOptions, Skipped
from textkin.text.packed import unpacked, whole
from textkin.text.rows import too_long
from textkin.text.tables import USUAL, BadRow
from textkin.types import Record

NAME: Final = "stdin"
"""What messages call it."""
LINES: Final = "lines"
"""The form in which each line is a text."""
Lines: TypeAlias = Iterator[tuple[int, bytes | BadRow]]
_FORMS: Final = {"csv": Kind.CSV, "tsv": Kind.CSV, "json": Kind.JSON, "jsonl": Kind.JSONL, "parquet": Kind.PARQUET}
_PACKED: Final = ((b"\x1f\x8b", Packing.GZIP), (b"\x28\xb5\x2f\xfd", Packing.ZSTD))
_PARQUET: Final = b"PAR1"
_HEAD: Final = 65_536
_LOOK: Final = 20
"""Lines that are looked at to tell a table from texts."""
_COLUMN: Final = re.compile(r"[^\W\d][\w.-]*( [\w.-]+){0,3}")
_SEPARATOR: Final = re.compile(r"sep=.", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\s*[-+]?[0-9]+([.,][0-9]+)?\s*")


@dataclass(frozen=True, slots=True)
class StandardInput:
    """What was found.

    Attributes:
        form: one of `STDIN_FORMS`.
        lines: from 1; for texts, and for JSON Lines that may be read as they come.
        table: anything else, kept in a temporary file.
    """

    form: str
    lines: Lines | None = None
    table: Found | None = None


@contextlib.contextmanager
def standard_input(stream: BinaryIO | None, options: ReadOptions, on_note: OnNote) -> Iterator[StandardInput]:
    """Tell what a stream holds: the same bytes mean what they mean in a file.

    gzip and zstd are decompressed; Parquet, JSON (a list, an object) and JSON Lines are known by what they begin
    with. Anything else is CSV or TSV where columns are asked for, or where the first line can name columns (a
    usual text column is among them, or one that holds only numbers) and the next lines have as many fields; else a
    text a line. What is no text is refused.

    Args:
        stream: None reads the process's own.

    Raises:
        InputError: nothing in it, or bytes that are no text.
    """
    ahead = _Ahead(process_stdin() if stream is None else stream)
    packing = next((packing for magic, packing in _PACKED if ahead.start.startswith(magic)), None)
    with contextlib.ExitStack() as stack:
        spool = None
        if packing is not None:
            spool = stack.enter_context(_spooled(ahead.all()))
            stack.enter_context(whole(packing, NAME))
            ahead = _Ahead(unpacked(spool.reader(), packing))
        wide = decode.marked(ahead.start) in ("utf-16", "utf-32")
        if wide:
            # Lines are only found in what is decoded.
            spool = spool or stack.enter_context(_spooled(ahead.all()))
            content = spool.reader().read() if packing is None else ahead.all().read()
            mark = decode.marked(content)
            ahead = _Ahead(io.BytesIO(content.decode(mark or "utf-8", "replace").encode()))
        form = options.stdin_format or _form(ahead, packing, options)
        if form == LINES or (form == "jsonl" and not (packing or wide or options.encoding)):
            numbered = ((number, line) for number, (_, line) in enumerate(lines_of(ahead.all(), options), start=1))
            yield StandardInput(form, _without_mark(numbered))
            return
        if options.stdin_format is None and form in ("csv", "tsv") and not _columns_asked(options):
            on_note("-", f"it is read as {form.upper()}; --stdin-format lines takes each line as a text")
        spool = spool or stack.enter_context(_spooled(ahead.all()))
        # A reader of tables is told by the name that the delimiter is a tab.
        name = f"{NAME}.tsv" if form == "tsv" else NAME
        opened = functools.partial(spool.reader)
        yield StandardInput(
            form,
            table=Found(name, "-", lambda: "-", opened, spool.size, direct=True, read_as=(_FORMS[form], packing)),
        )


def plain_lines(lines: Lines, options: ReadOptions, on_skip: OnSkip, on_note: OnNote) -> Iterator[Record]:
    """One record per line, in UTF-8 once a line showed that; before, a line may have another encoding."""
    noted: set[str] = set()
    is_utf8 = False
    for number, line in lines:
        if isinstance(line, BadRow):
            on_skip(Skipped("-", line.reason, row=number, source="-", id=f"-:{number}", kind="failed"))
            continue
        encoding = decode.detect(lambda line=line: [line], options.encoding)  # type: ignore[misc]
        if not line.strip():
            continue
        if encoding is None or encoding.damaged or (encoding.guessed and is_utf8) or b"\0" in line:
            said = "UTF-8" if encoding is None or options.encoding is None else options.encoding
            reason = "binary: it holds NUL bytes" if b"\0" in line else f"not {said}"
            on_skip(Skipped("-", reason, row=number, source="-", id=f"-:{number}", kind="failed"))
            continue
        is_utf8 = is_utf8 or not (encoding.guessed or line.isascii())
        if encoding.guessed and encoding.name not in noted:
            noted.add(encoding.name)
            on_note("-", decode.guess_note(encoding.name))
        text = well_formed(line.decode(encoding.name).strip())
        reason = too_long(text, options.max_text)
        if reason:
            on_skip(Skipped("-", reason, row=number, source="-", id=f"-:{number}", kind="failed"))
        elif text:
            yield Record(f"-:{number}", text, {}, "-")


def check_form(form: str | None, *, used: bool) -> None:
    """Refuse a form that is none, or one that nothing would use.

    Raises:
        InputError: such a one.
    """
    if form is None:
        return
    if form not in STDIN_FORMS:
        raise InputError(f"unknown form {form!r} of stdin; there are {', '.join(STDIN_FORMS)}")
    if not used:
        raise InputError("--stdin-format says how to read -, which is not among the inputs")


class _Ahead:
    """A stream of which some lines were looked at.

    Attributes:
        start: the first bytes, enough for a mark or a magic number; empty where there are none.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._taken: list[bytes] = []
        self._size = 0
        self.start = next(self.lines(), b"")

    def lines(self, most: int = _LOOK) -> Iterator[bytes]:
        """Lines from the first; at most so many that are not empty, and a piece of a long one."""
        seen = 0
        for number in itertools.count():
            if number == len(self._taken) and not self._take():
                return
            line = self._taken[number]
            if line.strip() or number == 0:
                seen += bool(line.strip())
                yield line
            if seen >= most:
                return

    def all(self) -> BinaryIO:
        """All of it, from the start; once."""
        return cast(BinaryIO, io.BufferedReader(_Replayed(b"".join(self._taken), self._stream)))

    def _take(self) -> bool:
        if self._size >= _HEAD:
            return False
        line = self._stream.readline(_HEAD)
        self._size += len(line)
        if line:
            self._taken.append(line)
        return bool(line)


class _Replayed(io.RawIOBase):
    """Bytes that were read already, then the rest of a stream, as it comes."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._read = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._head[: len(buffer)] or self._read(len(buffer))
        self._head = self._head[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


class _Spool:
    """A copy in a file without a name, that goes with the process; any number of readers."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._guard = threading.Lock()

    def reader(self) -> BinaryIO:
        """All of it from the start."""
        return cast(BinaryIO, io.BufferedReader(_Part(self._file, self._guard)))

    def size(self) -> int:
        """In bytes."""
        with self._guard:
            return self._file.seek(0, io.SEEK_END)


class _Part(io.RawIOBase):
    """One reader of a file that others read too."""

    def __init__(self, file: BinaryIO, guard: threading.Lock) -> None:
        super().__init__()
        self._file = file
        self._guard = guard
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._guard:
            if whence == io.SEEK_CUR:
                offset, whence = self._at + offset, io.SEEK_SET
            self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        with self._guard:
            self._file.seek(self._at)
            piece = self._file.read(len(buffer))
        self._at += len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


@contextlib.contextmanager
def _spooled(stream: BinaryIO) -> Iterator[_Spool]:
    with tempfile.TemporaryFile() as file:
        try:
            shutil.copyfileobj(stream, file, 1 << 20)
            file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageFullError(
                f"no room left in {tempfile.gettempdir()} for a copy of what comes through stdin; free some, name "
                "another folder in TMPDIR, or give the file itself"
            ) from error
        yield _Spool(cast(BinaryIO, file))


def _without_mark(lines: Lines) -> Lines:
    for number, line in lines:
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 and isinstance(line, bytes) else line


def _form(ahead: _Ahead, packing: Packing | None, options: ReadOptions) -> str:
    """What it is.

    Raises:
        InputError: nothing, or what is no text.
    """
    if ahead.start.startswith(_PARQUET):
        if packing is not None:
            raise FileReadError(f"{NAME}: Parquet that {packing.value} has compressed; decompress it first")
        return "parquet"
    reason = decode.binary_reason(ahead.start)
    if reason is not None and not reason.startswith("binary"):  # NUL bytes are named line by line
        raise FileReadError(f"{NAME}: {reason}")
    texts = (_decoded(line, options) for line in ahead.lines())
    first = next((text for text in texts if text.strip()), None)
    if first is None:
        raise InputError("nothing came through stdin; pipe texts to it, a line each, or JSON Lines")
    return _json_form(first.strip(), map(str.strip, texts)) or _table_form(first, texts, options) or LINES


def _decoded(line: bytes, options: ReadOptions) -> str:
    """A line without its end; white space stays, for a tab may be an empty cell."""
    content = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    try:
        return content.decode(options.encoding or "utf-8", "replace")
    except UnicodeError:  # an encoding that can't begin here: who reads the texts says so
        return content.decode("utf-8", "replace")


def _json_form(first: str, more: Iterator[str]) -> str | None:
    """Whether it begins like JSON; a line that is broken, or goes on in the next, is told by the next ones."""
    if first[0] not in "{[":
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(first)
    except json.JSONDecodeError as error:
        # Cut off, in the next line or beyond what is looked at: the reader of JSON finds out what it is.
        cut = len(first.encode("utf-8", "replace")) > _HEAD - 8 and error.msg.startswith("Unterminated string")
        goes_on = error.pos >= len(first) or cut
        if first[0] == "[":
            inside = first[1:].lstrip() or (next(more, "") if first == "[" else "")
            return "json" if (goes_on and inside[:1] in ('"', "[", "]")) or inside.startswith("{") else None
        return "json" if goes_on else "jsonl" if any(map(_is_object, more)) else None
    except (ValueError, RecursionError):  # a number of too many digits, or too deep: one bad row
        return "jsonl" if first[0] == "{" else "json"
    if isinstance(value, dict):
        return "jsonl" if end == len(first) or any(map(_is_object, more)) else None
    alone = end == len(first) and next(more, None) is None
    if any(isinstance(item, dict) for item in value):
        return "json" if alone else "jsonl" if end == len(first) else None
    return "json" if alone and all(isinstance(item, str) for item in value) else None


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def process_stdin() -> BinaryIO:
    """The process's own standard input.

    Raises:
        InputError: it is closed, or nothing that can be read.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed; pipe texts to it, or name a file")
    stream = sys.stdin.buffer
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return stream  # not a file: whoever calls this has put something in its place
    try:
        os.read(number, 0)
    except OSError as error:
        raise InputError(f"standard input can't be read: {error.strerror}; pipe texts to it") from error
    return stream


def _columns_asked(options: ReadOptions) -> bool:
    asked = (options.id_column, options.header)
    return bool(options.text_columns or options.columns) or asked != (None, None)


def _table_form(first: str, more: Iterable[str], options: ReadOptions) -> str | None:
    if _columns_asked(options):
        return "tsv" if "\t" in first and "," not in first else "csv"
    if _SEPARATOR.fullmatch(first):
        return "csv"
    every = options.bulk and options.columns is None
    signs = [sign for sign in ",\t;|" if every or _can_name_columns(_cells([first], sign))]
    if not any(sign in first for sign in signs):
        return None
    lines = [first, *more]
    for sign in signs:
        rows = _cells(lines, sign)
        rows = rows[:-1] if len(lines) >= _LOOK and len(rows) > 2 else rows  # the last may go on
        if len(rows) < 2 or len(rows[0]) < 2:
            continue
        alike = [row for row in rows[1:] if len(row) == len(rows[0])]
        # Under a usual name single rows of another length are bad rows; without one, all must agree.
        usual = _has_usual_name(rows[0]) and 2 * len(alike) > len(rows) - 1
        if usual or (len(alike) == len(rows) - 1 and (every or _has_numbers(alike))):
            return "tsv" if sign == "\t" else "csv"
    return None


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    with contextlib.suppress(csv.Error):
        return [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
    return []


def _can_name_columns(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the cells of a first row may be names: several that differ, each like one."""
    names = [cell.strip().lower() for cell in rows[0]] if rows else []
    return len(names) > 1 and len(set(names)) == len(names) and all(map(_COLUMN.fullmatch, names))


def _has_usual_name(names: Sequence[str]) -> bool:
    return not set(USUAL).isdisjoint(name.strip().lower() for name in names)


def _has_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a column has a number in each of several rows: then the row above, of words, named it."""
    return len(rows) > 1 and any(all(map(_NUMBER.fullmatch, column)) for column in zip(*rows, strict=True))
