"""Filters written as text: ``lang = "en" and (year >= 2020 or kind in ("a", "b"))``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from textkin.errors import FilterError
from textkin.where.conditions import (
    MAX_DEPTH,
    And,
    Compare,
    Condition,
    Contains,
    In,
    Not,
    Operator,
    Or,
    Scalar,
    check,
    check_value,
)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.-]))
    | (?P<name>[\w.-]+)
    | (?P<quoted>"(?:[^"]|"")*"|'(?:[^']|'')*')
    | (?P<field>`(?:[^`]|``)*`)
    | (?P<sign><=|>=|!=|<>|==|[=<>(),])
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
_OPERATORS: dict[str, Operator] = {"=": "=", "==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONSTANTS: dict[str, Scalar] = {"null": None, "true": True, "false": False}
_EXPECTED_VALUE = "a value: a quoted text, a number, true, false or null"
_EXPECTED_FIELD = "a field's name (put one with blanks or signs, or named like a keyword, in `backticks`)"
_WINDOW = 72


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, word (a keyword), quoted, field, sign or end
    text: str
    start: int


def parse(text: str) -> Condition:
    """Read a filter.

    ``= == != <> < <= > >=``, ``in (…)``, ``not in (…)``, ``contains``, ``not contains``, ``is null``, ``is not
    null``, ``and``, ``or``, ``not`` and brackets; ``not`` binds tighter than ``and``, which binds tighter than
    ``or``. Values are texts in single or double quotes (a quote inside is doubled, a backslash is only a
    backslash), numbers, true, false and null. Fields are bare (letters, digits, ``_ . -``) or in backticks.
    Keywords in any case.

    Raises:
        FilterError: with the place and what was expected there.
    """
    reader = _Reader(text, _tokens(text))
    found = reader.any_of(1)
    reader.expect_end()
    return check(found)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            if text[place] in "\"'`":
                _fail(text, place, f"the quote {text[place]} is never closed")
            _fail(text, place, f"{text[place]!r} has no meaning here")
        kind = str(match.lastgroup)
        word = match.group(kind)
        if kind == "name" and word.lower() in _KEYWORDS:
            kind, word = "word", word.lower()
        tokens.append(_Token(kind, word, match.start(match.lastgroup or 0)))
        place = match.end()
    tokens.append(_Token("end", "", end))
    return tokens


def _fail(text: str, place: int, problem: str) -> NoReturn:
    first = max(0, place - _WINDOW // 2)
    shown = re.sub(r"\s", " ", text[first : first + _WINDOW])
    raise FilterError(
        f"the filter can't be read at character {place + 1}: {problem}\n  {shown}\n  {' ' * (place - first)}^"
    )


class _Reader:
    """Recursive descent over the tokens."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._place = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, kind: str, *texts: str) -> _Token | None:
        token = self._next
        if token.kind != kind or (texts and token.text not in texts):
            return None
        self._place += 1
        return token

    def _expected(self, what: str) -> NoReturn:
        token = self._next
        found = "the filter ends" if token.kind == "end" else f"found {token.text}"
        _fail(self._text, token.start, f"expected {what}, but {found}")

    def expect_end(self) -> None:
        if self._next.kind != "end":
            self._expected("and, or, or the end")

    def any_of(self, depth: int) -> Condition:
        items = [self._all_of(depth)]
        while self._take("word", "or"):
            items.append(self._all_of(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _all_of(self, depth: int) -> Condition:
        items = [self._one(depth)]
        while self._take("word", "and"):
            items.append(self._one(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def _one(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            _fail(self._text, self._next.start, f"a filter may nest {MAX_DEPTH} deep; write it flatter")
        if self._take("word", "not"):
            return Not(self._one(depth + 1))
        if self._take("sign", "("):
            inside = self.any_of(depth + 1)
            self._close()
            return inside
        return self._comparison()

    def _comparison(self) -> Condition:
        token = self._take("name") or self._take("field")
        if token is None:
            self._expected(_EXPECTED_FIELD)
        field = token.text[1:-1].replace("``", "`") if token.kind == "field" else token.text
        if self._take("word", "is"):
            negated = self._take("word", "not") is not None
            if not self._take("word", "null"):
                self._expected("null" if negated else "null or not null")
            missing = Compare(field, "=", None)
            return Not(missing) if negated else missing
        if self._take("word", "not"):
            if self._contains():
                return Not(Contains(field, self._value(field, "=")))
            if not self._take("word", "in"):
                self._expected('in or contains (as in: lang not in ("en", "de"))')
            return Not(self._in(field))
        if self._contains():
            return Contains(field, self._value(field, "="))
        if self._take("word", "in"):
            return self._in(field)
        sign = self._take("sign", *_OPERATORS, "!=", "<>")
        if sign is None:
            self._expected(f"=, !=, <, <=, >, >=, in, contains or is after the field {field}")
        if sign.text in ("!=", "<>"):
            return Not(Compare(field, "=", self._value(field, "=")))
        op = _OPERATORS[sign.text]
        return Compare(field, op, self._value(field, op))

    def _contains(self) -> bool:
        """No keyword: a field may have this name."""
        found = self._next.kind == "name" and self._next.text.lower() == "contains"
        self._place += found
        return found

    def _in(self, field: str) -> In:
        if not self._take("sign", "("):
            self._expected("( and a list of values")
        values: list[Scalar] = []
        if self._take("sign", ")"):
            return In(field, ())
        values.append(self._value(field, "="))
        while self._take("sign", ","):
            values.append(self._value(field, "="))
        self._close()
        return In(field, tuple(values))

    def _close(self) -> None:
        if not self._take("sign", ")"):
            self._expected(")")

    def _value(self, field: str, op: str) -> Scalar:
        token = self._next
        if token.kind == "quoted":
            quote = token.text[0]
            value: Scalar = token.text[1:-1].replace(quote * 2, quote)
        elif token.kind == "number":
            value = self._number(token)
        elif token.kind == "word" and token.text in _CONSTANTS:
            value = _CONSTANTS[token.text]
        elif token.kind in ("name", "word"):
            self._expected(f'{_EXPECTED_VALUE} (put quotes around a text: "{token.text}")')
        else:
            self._expected(_EXPECTED_VALUE)
        try:
            check_value(field, op, value)
        except FilterError as error:
            _fail(self._text, token.start, str(error))
        self._place += 1
        return value

    def _number(self, token: _Token) -> int | float:
        if token.text.lstrip("+-").isdigit():
            if len(token.text) > 20:
                _fail(
                    self._text, token.start, "the number does not fit in 64 bits; write it with an exponent (1e30)"
                )
            return int(token.text)
        number = float(token.text)
        if not math.isfinite(number):
            _fail(self._text, token.start, f"{token.text} is too large for a number")
        return number
