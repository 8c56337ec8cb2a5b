"""Files that hold a table: decompressed, decoded, and ready to give their rows."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TextIO, TypeAlias

from textkin.errors import FileReadError, InputError
from textkin.text import decode
from textkin.text.csv_table import csv_table
from textkin.text.found import Found
from textkin.text.json_stream import Document, InvalidJson, look_at, parse
from textkin.text.json_table import json_table, jsonl_table
from textkin.text.kinds import Kind, Packing, inner_suffix
from textkin.text.lines import lines_of
from textkin.text.options import ReadOptions
from textkin.text.packed import unpacked, whole
from textkin.text.parquet_table import parquet_table
from textkin.text.tables import BadRow, Table

FindEncoding: TypeAlias = Callable[[Found, Callable[[], Iterable[bytes]]], decode.Encoding]


@contextlib.contextmanager
def opened_table(found: Found, options: ReadOptions, find_encoding: FindEncoding) -> Iterator[Table]:
    """Open a file of a kind that is a table; its rows are read inside the block.

    Args:
        find_encoding: (file, its bytes again at each call) to its encoding.

    Raises:
        FileReadError: it is not what its name says, or damaged.
        InputError: no table in it.
    """
    kind, packing = found.kind
    if kind is Kind.PARQUET:
        with found.open() as file:
            yield parquet_table(file, found.name)
        return
    with whole(packing, found.name):
        opened = functools.partial(_opened, found, packing)
        with opened() as file:
            head = file.read(65_536)
        reason = decode.binary_reason(head)
        if reason:
            raise FileReadError(f"{found.name}: {reason}")
        # JSON Lines are UTF-8: a line that isn't is one bad line, not a reason to guess.
        if kind is Kind.JSONL and not decode.says_other(head) and not options.encoding:
            with opened() as file:
                lines = lines_of(file, options)
                ahead = _first_line(lines)
                if not _may_be_document(ahead) or _document(functools.partial(_as_text, opened), options) is None:
                    yield jsonl_table(itertools.chain(ahead, lines), found.name)
                    return
        encoding = find_encoding(found, lambda: _blocks(opened))
        with _table(found, kind, functools.partial(_opened_text, opened, encoding), encoding, options) as table:
            yield table


Opened: TypeAlias = Callable[[], contextlib.AbstractContextManager[BinaryIO]]
OpenedText: TypeAlias = Callable[[], contextlib.AbstractContextManager[TextIO]]


@contextlib.contextmanager
def _table(
    found: Found, kind: Kind, opened: OpenedText, encoding: decode.Encoding, options: ReadOptions
) -> Iterator[Table]:
    damaged = encoding.name.upper() if encoding.damaged else ""
    if kind is Kind.CSV:
        yield csv_table(opened, found.name, inner_suffix(found.name) in ("tsv", "tab"), options, damaged)
        return
    document = _document(opened, options) if kind is Kind.JSONL else _looked_at(opened, found.name, options)
    if document is None or document.kind == "lines":
        with opened() as file:
            yield jsonl_table(lines_of(file, options), found.name, damaged)
    elif document.kind == "object" and kind is Kind.JSON and not options.text_columns:
        raise InputError(
            f"{found.name} holds no list of records; expected a list of objects or of strings, an object with "
            "one such list, or an object a line; with --text-column it is one record"
        )
    else:
        yield json_table(opened, document, found.name, options, damaged)


def _looked_at(opened: OpenedText, name: str, options: ReadOptions) -> Document:
    try:
        with opened() as file:
            return look_at(file, options)
    except InvalidJson as error:
        raise FileReadError(f"{name} is not valid JSON: {error}") from error


def _document(opened: OpenedText, options: ReadOptions) -> Document | None:
    """What a file that should be JSON Lines is instead; None when it is nothing else."""
    try:
        with opened() as file:
            document = look_at(file, options)
    except InvalidJson:
        return None
    return None if document.kind in ("lines", "other") else document


_Line = tuple[int, bytes | BadRow]


def _first_line(lines: Iterator[_Line]) -> list[_Line]:
    """All up to the first line that is not empty."""
    ahead: list[_Line] = []
    for number, line in lines:
        ahead.append((number, line))
        if isinstance(line, BadRow) or line.strip():
            break
    return ahead


def _may_be_document(ahead: list[_Line]) -> bool:
    """Whether a file's first line is no row: then the file may be a list, or rows that take several lines."""
    line = ahead[-1][1] if ahead else b""
    if isinstance(line, BadRow):
        return True
    try:
        return isinstance(parse(line.decode("utf-8-sig")), list)
    except (ValueError, RecursionError):
        return line.lstrip()[:1] in (b"[", b"{")


@contextlib.contextmanager
def _opened(found: Found, packing: Packing | None) -> Iterator[BinaryIO]:
    with found.open() as file:
        if packing is None:
            yield file
        else:
            with unpacked(file, packing) as content:
                yield content


def _opened_text(opened: Opened, encoding: decode.Encoding) -> contextlib.AbstractContextManager[TextIO]:
    return _text(opened, encoding.name, encoding.errors)


def _as_text(opened: Opened) -> contextlib.AbstractContextManager[TextIO]:
    return _text(opened, "utf-8", decode.MARK)


@contextlib.contextmanager
def _text(opened: Opened, encoding: str, errors: str) -> Iterator[TextIO]:
    with opened() as file, io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as text:
        yield text


def _blocks(opened: Opened) -> Iterator[bytes]:
    with opened() as file:
        yield from decode.read_blocks(file)
