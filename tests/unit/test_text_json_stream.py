"""JSON of any form, value by value: lists, objects around lists, lines, and what is none of them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from textkin.text import json_stream
from textkin.text.json_stream import Document, InvalidJson, look_at, rows_in
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow

ROWS: list[Any] = [
    {"text": 'a "quoted" \\ [b] {c}', "n": [1, {"x": "]"}]},
    "word",
    -1.5e3,
    None,
    [],
    {},
    [[["deep"]]],
]


def items(text: str, **options: Any) -> tuple[Document, list[Any]]:
    chosen = ReadOptions(**options)
    document = look_at(io.StringIO(text), chosen)
    return document, list(rows_in(io.StringIO(text), document, chosen))


@pytest.fixture(params=[1, 3, 1 << 16])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_stream, "_PIECE", request.param)
    return int(request.param)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.usefixtures("piece")
def test_documents(indent: int | None) -> None:
    dump = lambda value: json.dumps(value, indent=indent)  # noqa: E731
    assert items(dump(ROWS)) == (Document("array", count=len(ROWS)), ROWS)
    around = {"version": 1, "rows": ROWS, "empty": [], "numbers": [1, 2]}
    assert items(dump(around)) == (Document("member", "rows", len(ROWS)), ROWS)
    assert items(dump({"a": ["x"], "b": ["y"]}))[0].kind == "object"
    assert items("\n".join(map(dump, ROWS[:2])))[0].kind == ("lines" if indent is None else "values")
    assert items(" ".join(map(dump, [{"a": 1}, {"b": 2}]))) == (Document("values", count=2), [{"a": 1}, {"b": 2}])
    assert items("[]") == (Document("array", count=0), [])
    assert items("7")[0].kind == "other"


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize(
    "text",
    ["", "[", '["a",', '["a" "b"]', '{"a"}', '{"a": 1,}', "[1]]", '["a\nb"]', "nope", '{"a": [1}', '["\\u12"]'],
)
def test_what_is_not_valid_is_refused(text: str) -> None:
    with pytest.raises(InvalidJson, match=r"line [12]"):
        look_at(io.StringIO(text), ReadOptions())


def test_the_line_of_an_error_is_told() -> None:
    text = '[\n{"text": "a"},\n\n{"text" "b"}]'
    with pytest.raises(InvalidJson, match="line 4"):
        look_at(io.StringIO(text), ReadOptions())


@pytest.mark.usefixtures("piece")
def test_what_cannot_be_kept_is_one_bad_item() -> None:
    deep = "[" * 3000 + "]" * 3000
    text = f'[{{"text": "a"}}, {deep}, {{"a": 1, "a": 2}}, {"9" * 5000}, {{"n": {"9" * 5000}}}, "b"]'
    _, found = items(text)
    assert [found[0], found[-1]] == [{"text": "a"}, "b"]
    reasons = [item.reason for item in found if isinstance(item, BadRow)]
    assert ["deep" in reasons[0], "two values called 'a'" in reasons[1]] == [True, True]
    assert len(reasons) == 4


def test_an_over_long_item_is_passed_over() -> None:
    long = '{"text": "' + 'x\\"]}' * 1_000_000 + '"}'
    for text in (f'["a", {long}, "b"]', f'{{"rows": ["a", {long}, "b"]}}'):
        _, found = items(text, max_text=100)
        assert [found[0], found[2]] == ["a", "b"]
        assert f"{len(long):,}" in found[1].reason
