"""One JSON document, or several, read value by value: no more of it is held than one row may take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from textkin.text.lines import over_long, row_limit
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow

_PIECE = 1 << 16
_CUT = 16
"""An error so near to the end of what was read may come from reading too little: half a word, number, escape."""
_SPACE = re.compile(r"[ \t\n\r]*+")
_INSIDE = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OUTSIDE = re.compile(r'["\[\]{}]')
_SCALAR_END = re.compile(r"[,\]}\s]")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file of JSON is.

    Attributes:
        kind: ``array``: one list; ``member``: one object with one list of rows in it; ``values``: several values
            behind each other; ``lines``: several, each on a line of its own; ``object``: one object without such a
            list, or with several; ``other``: one value of another kind.
        key: of the member.
        count: of the list's items, or of the values; not known of lines.
    """

    kind: Literal["array", "member", "values", "lines", "object", "other"]
    key: str | None = None
    count: int = 0


class InvalidJson(ValueError):
    """What is not valid, and where."""


def parse(text: str) -> Any:
    """One JSON value.

    Raises:
        ValueError: it is not valid, or has an object with two values of one name.
        RecursionError: it is too deep.
    """
    return _DECODER.decode(text)


def is_row(value: Any) -> bool:
    """Whether a value can be a row of a table."""
    return isinstance(value, dict | str)


def look_at(file: TextIO, options: ReadOptions) -> Document:
    """Find out what a file is; unless it is lines, it is gone through to its end.

    Raises:
        InvalidJson: it is not valid.
    """
    reader = _Reader(file, options, json.JSONDecoder())
    sign = reader.peek()
    start = reader.line
    kind: Literal["array", "object", "other"] = "other"
    key, count = None, 0
    if sign == "[":
        kind = "array"
        count = sum(1 for _ in reader.items())
    elif sign == "{":
        kind = "object"
        members = list(_members(reader))
        # Strings beside other members are a value of one record, such as its tags; so is a list beside its text.
        rows = [one for one in members if one[2] == "objects"]
        rows = rows or [one for one in members if one[2] == "strings" and len(members) == 1]
        asked = {*options.text_columns, options.id_column}
        if len(rows) == 1 and asked.isdisjoint(name for name, _, _ in members):
            key, count, _ = rows[0]
    else:
        reader.value()
        count = 1
    on_one_line = reader.line == start
    if not reader.peek():
        return Document(kind if key is None else "member", key, count)
    if on_one_line and reader.line > start:
        return Document("lines")
    values = 1
    while reader.peek():
        reader.value()
        values += 1
    return Document("values", count=values)


def rows_in(file: TextIO, document: Document, options: ReadOptions) -> Iterator[Any]:
    """The items of a document that `look_at` has looked at: values, or `BadRow`."""
    reader = _Reader(file, options)
    sign = reader.peek()
    if document.kind in ("values", "object"):
        while reader.peek():
            yield reader.value()
    elif document.kind == "array":
        yield from reader.items()
    elif document.kind == "member" and sign == "{":
        for name in reader.members():
            if name == document.key and reader.peek() == "[":
                yield from reader.items()
            else:
                reader.value()


def _members(reader: _Reader) -> Iterator[tuple[str, int, str]]:
    """Of each member of an object: its name; of a list, how many items it has and what they begin with."""
    for name in reader.members():
        size, kind = 0, ""
        if reader.peek() == "[":
            for item in reader.items():
                if size == 0:
                    kind = "strings" if isinstance(item, str) else "objects" if is_row(item) else ""
                    kind = "objects" if isinstance(item, BadRow) else kind
                size += 1
        else:
            reader.value()
        yield name, size, kind


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has two values called {twice!r}")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


class _Reader:
    """Text of which a little is held; ``line`` is where it stands, from 1."""

    def __init__(self, file: TextIO, options: ReadOptions, decoder: json.JSONDecoder | None = None) -> None:
        self._file = file
        self._decode = (decoder or _DECODER).raw_decode
        self._options = options
        self._limit = row_limit(options)
        self._held = ""
        self._at = 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            self._move(_SPACE.match(self._held, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def value(self) -> Any:
        """The next value; a `BadRow` for one that is over-long, too deep, or can't be kept.

        Raises:
            InvalidJson: it is not valid.
        """
        self.peek()
        size = _PIECE
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._held) - _CUT or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise self._invalid(error.msg, error.pos) from error
            except RecursionError:
                self._skip()
                return BadRow("it is nested too deeply")
            except ValueError as error:
                self._skip()
                return BadRow(str(error))
            else:
                if end < len(self._held) or self._ended:
                    self._move(end)
                    return value
            if len(self._held) - self._at > self._limit:
                return BadRow(over_long("it", self._skip(), self._options))
            self._more(size)
            size *= 2

    def items(self) -> Iterator[Any]:
        """The items of the list that comes next.

        Raises:
            InvalidJson: it is not valid.
        """
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The names of the object that comes next; after each, its value has to be taken.

        Raises:
            InvalidJson: it is not valid.
        """
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            if self.peek() != '"':
                raise self._invalid("Expecting property name enclosed in double quotes", self._at)
            name = self.value()
            self._take(":")
            yield str(name)
            if self._take(",}") == "}":
                return

    def _take(self, signs: str) -> str:
        sign = self.peek()
        if not sign or sign not in signs:
            raise self._invalid(f"Expecting {' or '.join(map(repr, signs))}", self._at)
        self._move(self._at + 1)
        return sign

    def _skip(self) -> int:
        """Pass over a value without keeping it, and tell its length."""
        depth, size, inside = 0, 0, False
        while True:
            before = self._at
            if inside:
                end = _INSIDE.match(self._held, self._at).end()  # type: ignore[union-attr]
                closed = self._held[end : end + 1] == '"'
                self._move(end + closed)
                inside = not closed
            else:
                found = (_OUTSIDE if depth or self._held[self._at] in '"[{' else _SCALAR_END).search(
                    self._held, self._at
                )
                sign = found.group() if found else ""
                inside = sign == '"'
                depth += (sign in "[{") - (sign in "]}") if sign else 0
                scalar = found is not None and not depth and not inside and sign not in "]}"
                self._move(len(self._held) if found is None else found.start() + (not scalar))
                closed = found is not None and not inside
            size += self._at - before
            if closed and not depth and not inside:
                return size
            if (self._at == len(self._held) or self._at == before) and not self._more():
                raise self._invalid("It ends in the middle of a value", self._at)

    def _move(self, to: int) -> None:
        self.line += self._held.count("\n", self._at, to)
        self._at = to

    def _more(self, size: int = _PIECE) -> bool:
        piece = self._file.read(size)
        self._ended = not piece
        self._held = self._held[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _invalid(self, reason: str, at: int) -> InvalidJson:
        return InvalidJson(f"{reason}, in line {self.line + self._held.count(chr(10), self._at, at)}")
