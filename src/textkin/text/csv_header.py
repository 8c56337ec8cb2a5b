"""How a CSV begins: lines above its table, delimiter, and whether the first row names the columns."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from textkin.errors import InputError
from textkin.text.tables import USUAL

HEAD = 65_536
"""Characters that the decision is made from."""
NO_DELIMITER = "\x1f"
_SEP = re.compile(r'\A"?sep=(.)"?[ ,;\t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_ABOVE = 30
"""The most lines above a table."""
_CONSISTENT = 0.9
_VALUE = re.compile(
    r"""[-+]?[$€£]?\d[\d.,' ]*(?:[eE][-+]?\d+)?%?"""
    r"""|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ]\d.*)?|\d{1,2}:\d\d(?::\d\d.*)?"""
    r"""|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}|https?://\S+|[^\s@]+@[^\s@]+\.[a-z]+|true|false""",
    re.IGNORECASE,
)
_UNNAMED = re.compile(r"column_[1-9][0-9]*")
_NAMES = frozenset(
    {
        *USUAL,
        "id",
        "ids",
        "uid",
        "uuid",
        "key",
        "index",
        "idx",
        "no",
        "nr",
        "number",
        "name",
        "url",
        "link",
        "date",
    }
    | {
        "time",
        "timestamp",
        "created_at",
        "lang",
        "language",
        "label",
        "labels",
        "category",
        "class",
        "topic",
        "tag",
    }
    | {"tags", "score", "rating", "stars", "price", "author", "user", "source", "type", "query", "answer", "text1"}
    | {"text2", "sentence1", "sentence2", "context", "review_text", "doc_id", "docid", "product", "brand", "year"}
)
"""Names that no row of data begins with by chance, in lower case."""
_Cells: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a CSV begins.

    Attributes:
        delimiter: between cells.
        above: lines before the table, which belong to nothing.
        named: whether the first row names the columns.
        notes: what was decided and could be otherwise, for people.
    """

    delimiter: str
    above: int
    named: bool
    notes: tuple[str, ...] = ()


def find_beginning(head: str, name: str, tabs: bool, header: bool | None, wanted: Collection[str]) -> Beginning:
    """Decide from the first `HEAD` characters.

    Args:
        tabs: the delimiter is known to be a tab.
        header: the user's word on whether the first row names the columns; None decides by what rows look like.
        wanted: names of columns that the user gave: they are looked for in the first row.

    Raises:
        InputError: the first row may be names or data, or the first line may stand above the table.
    """
    above = 0
    said = _SEP.match(head)
    if said:
        head, above = head[said.end() :], 1
    cut = len(head) >= HEAD - 100
    signs = said.group(1) if said else "\t" if tabs else ",;\t|"
    tables = {sign: _rows(head, sign, cut) for sign in signs}
    below = None if header is not None else _below(tables, name, wanted)
    if below is not None:
        delimiter, line = below
        above += line - 1
        told = (
            "line 1 stands above its table and was"
            if above == 1
            else f"lines 1 to {above} stand above its table and were"
        )
        return Beginning(delimiter, above, True, (f"{told} left out",))
    delimiter = signs if len(signs) == 1 else _best(tables, header)
    rows = [cells for _, cells in tables.get(delimiter) or _rows(head, delimiter, cut)]
    if header is not None or not rows:
        return Beginning(delimiter, above, header is not False)
    verdict, evident = _verdict(rows[0], rows[1:], wanted)
    shown = ", ".join(repr(cell if len(cell) <= 40 else f"{cell[:40]}…") for cell in rows[0][:4])
    if verdict == "doubtful":
        raise InputError(
            f"{name}: can't tell whether its first line names the columns or is a row ({shown}); say --header or "
            "--no-header (in Python ReadOptions(header=True) or False)"
        )
    if verdict == "row":
        note = f"its first line is a row ({shown}), its columns are column_1, column_2 …; --header says otherwise"
    else:
        note = f"its first line is taken for the names of columns ({shown}); --no-header says otherwise"
    return Beginning(delimiter, above, verdict == "header", () if evident else (note,))


def unnamed(number: int) -> str:
    """What a column without a name is called; counted from 1."""
    return f"column_{number}"


def _rows(head: str, delimiter: str, cut: bool) -> list[tuple[int, list[str]]]:
    """The line that each row starts in, and its cells; the last is left out when the head may cut it."""
    found: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, skipinitialspace=True)
    with contextlib.suppress(csv.Error):
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                break
            if cells:
                found.append((line, cells))
    return found[:-1] if cut and len(found) > 2 else found


def _best(tables: dict[str, list[tuple[int, list[str]]]], header: bool | None) -> str:
    """The sign that cuts the rows into the same number of fields as the first, more than one; else none at all."""
    best, best_rank = NO_DELIMITER, (0.0, 0)
    for delimiter, rows in tables.items():
        widths = [len(cells) for _, cells in rows]
        if not widths:
            continue
        first = max(set(widths), key=widths.count) if header is False else widths[0]
        if first < 2:
            continue
        rank = (widths.count(first) / len(widths), first)
        if rank > best_rank:
            best, best_rank = delimiter, rank
    return best


def _below(
    tables: dict[str, list[tuple[int, list[str]]]], name: str, wanted: Collection[str]
) -> tuple[str, int] | None:
    """Delimiter and line of a header that other lines stand above; None when the first line begins the table."""
    candidates: list[tuple[float, int, str, int]] = []
    for delimiter, rows in tables.items():
        widths = [len(cells) for _, cells in rows]
        if widths and widths[0] > 1 and widths.count(widths[0]) >= len(widths) / 2:
            return None
        for at in range(1, min(len(rows) - 1, _ABOVE)):
            share = widths[at:].count(widths[at]) / len(widths[at:])
            if widths[at] > 1 and widths[at] != widths[at - 1] and share >= _CONSISTENT:
                candidates.append((share, widths[at], delimiter, at))
                break
    firsts = [cell.strip() for rows in tables.values() for cell in (rows[0][1] if rows else ())]
    if not candidates or any(cell in wanted or cell.lower() in _NAMES for cell in firsts):
        return None  # the first has names: of one column whose texts hold the sign, or rows have too many fields
    _, width, delimiter, at = max(candidates)
    rows = tables[delimiter]
    line, cells = rows[at]
    first = [cell.strip() for cell in rows[0][1]]
    verdict, evident = _verdict(cells, [cells for _, cells in rows[at + 1 :]], wanted)
    if verdict == "header" and evident:
        return delimiter, line
    if len(first) == 1 and re.fullmatch(r"[^\W\d]\w*", first[0]):
        return None
    raise InputError(
        f"{name}: its first line ({rows[0][1][0][:60]!r}) has {len(first)} of the {width} fields that the lines "
        "below have. Take out what stands above the table, or say --header when that line names the columns, "
        "--no-header when no line does (in Python ReadOptions(header=True) or False)"
    )


def _verdict(
    first: _Cells, rows: Sequence[_Cells], wanted: Collection[str]
) -> tuple[Literal["header", "row", "doubtful"], bool]:
    """What a first row is, and whether anything but its looks says so."""
    names = [cell.strip() for cell in first]
    if any(name in wanted for name in names):
        return "header", True
    if any(name.lower() in _NAMES for name in names):
        return "header", True
    if names[0] == "" and names[1:] == [str(number) for number in range(len(names) - 1)]:
        return "header", True  # as pandas writes a table whose columns have no names
    above_values = values = words = 0
    for at, name in enumerate(names):
        column = [cells[at].strip() for cells in rows if at < len(cells) and cells[at].strip()]
        typed = bool(column) and sum(bool(_VALUE.fullmatch(cell)) for cell in column) >= _CONSISTENT * len(column)
        if not name:
            continue
        if _VALUE.fullmatch(name):
            values += typed
            words += not typed
        elif typed:
            above_values += 1
        elif name in column or not _is_plain(name):
            words += 1
    if above_values and not values:
        return "header", True
    if values and not above_values and not _is_counted(names):
        return "row", False
    if wanted and all(map(_UNNAMED.fullmatch, wanted)) and "" not in names:
        return "row", False  # the user calls columns as those without names are called
    return ("doubtful", False) if words or values else ("header", False)


def _is_counted(names: Sequence[str]) -> bool:
    """Whether the numbers among the names count up by one, as years and the names of nameless columns do."""
    numbers = [int(name) for name in names if name.isdecimal()]
    return len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_plain(name: str) -> bool:
    """Whether it looks like the name of a column: short, and no sentence."""
    return len(name) <= 40 and len(name.split()) <= 3 and name[-1] not in ".!?;" and "\n" not in name
