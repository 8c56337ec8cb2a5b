"""Encodings: marked, chosen, UTF-8, declared, guessed; and what is no text at all."""

from __future__ import annotations

import io

import pytest

from textkin.errors import InputError
from textkin.text.decode import MARK, Encoding, binary_reason, check_encoding, damage, detect, mended, read_blocks

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. В чащах юга жил бы цитрус. " * 3


def found(data: bytes, encoding: str | None = None) -> Encoding | None:
    return detect(lambda: [data], encoding)


@pytest.mark.parametrize(
    ("data", "name", "guessed"),
    [
        (b"plain", "utf-8", False),
        ("naïve 漢字".encode(), "utf-8", False),
        (b"\xef\xbb\xbfmarked", "utf-8-sig", False),
        ("mark".encode("utf-16"), "utf-16", False),
        ("mark".encode("utf-32"), "utf-32", False),
        ("no mark at all".encode("utf-16-le"), "utf-16-le", True),
        ("no mark at all".encode("utf-16-be"), "utf-16-be", True),
        ("café “quoted” – naïve".encode("cp1252"), "cp1252", True),
        (b'<meta charset="shift_jis"><p>' + "日本語".encode("shift_jis"), "shift_jis", False),
        (b'<?xml version="1.0" encoding="koi8-r"?>' + "да".encode("koi8-r"), "koi8-r", False),
        (b"#!/usr/bin/python\n# -*- coding: latin-1 -*-\nx = '\xe9'", "cp1252", False),
    ],
)
def test_detected(data: bytes, name: str, guessed: bool) -> None:
    assert found(data) == Encoding(name, guessed)


def test_russian_is_guessed() -> None:
    encoding = found(RUSSIAN.encode("cp1251"))
    assert encoding is not None
    assert encoding.guessed
    assert RUSSIAN.encode("cp1251").decode(encoding.name) == RUSSIAN


def test_prose_about_encodings_is_not_a_declaration() -> None:
    assert found(b"The encoding: utf-16 is a thing, caf\xe9.") == Encoding("cp1252", True)


def test_chosen_encoding_must_fit() -> None:
    assert found("да".encode("cp1251"), "cp1251") == Encoding("cp1251", False)
    assert found(b"\xff\xff", "utf-8") is None


def test_a_mark_beats_the_choice() -> None:
    assert found(b"\xef\xbb\xbfx", "latin-1") == Encoding("utf-8-sig", False)


def test_every_byte_decodes_somehow() -> None:
    data = bytes(range(0x80, 0x100)) * 3
    encoding = found(data)
    assert encoding is not None
    assert encoding.guessed
    data.decode(encoding.name, encoding.errors)


MIXED = [
    ("größe ".encode() * 3000 + "größe".encode("cp1252"), "utf-8"),
    ("1,größe\n".encode() + "2,größe\n".encode("cp1252"), "utf-8"),
    ("größe\n".encode() + "größe\n".encode("cp1252") * 5, "utf-8"),  # chance makes no whole characters in cp1252
    ("die Größe der Häuser im Süden\n".encode("cp1252") * 3000, "cp1252"),
    (RUSSIAN.encode() + b"\xff", "utf-8"),
    ("漢字仮名交じり文".encode() * 50 + b"\xe6\xbc", "utf-8"),
    (b"\xef\xbb\xbfgr\xf6\xdfe", "utf-8-sig"),
]


@pytest.mark.parametrize(("data", "name"), MIXED)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_some_bad_bytes_are_no_other_encoding(data: bytes, name: str, size: int) -> None:
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    encoding = detect(lambda: blocks)
    assert encoding is not None
    assert encoding.name == name
    assert encoding.guessed == (name == "cp1252")
    assert encoding.damaged == (name != "cp1252")
    text = data.decode(encoding.name, encoding.errors)
    assert bool(damage(text)) == encoding.damaged


CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"


@pytest.mark.parametrize("name", ["gb18030", "big5"])
def test_one_bad_byte_in_another_encoding_leaves_the_rest_too(name: str) -> None:
    text = (CHINESE if name == "gb18030" else CHINESE.encode("big5", "ignore").decode("big5")) + "\n"
    data = text.encode(name) * 20
    whole = found(data)
    assert whole is not None
    broken = found(data + b"\xff\n" + text.encode(name))
    assert broken == Encoding(whole.name, True, damaged=True)
    assert data.decode(whole.name) == text * 20


def test_chosen_encoding_and_damage() -> None:
    data = "größe\n".encode() * 9 + b"gr\xf6\xdfe\n"
    assert found(data, "utf-8") == Encoding("utf-8", False, damaged=True)
    assert found(b"gr\xf6\xdfe\n", "utf-8") is None
    assert detect(lambda: [b"gr\xf6\xdfe\n"], "utf-8", rows=True) == Encoding("utf-8", False, damaged=True)


def test_places_of_damage_are_told_by_line() -> None:
    text = b"a\nb\xff\xfe\n\nc\x80d\x81\n".decode("utf-8", MARK)
    assert mended(text) == ("a\nb\ufffd\n\nc\ufffdd\ufffd\n", "lines 2, 4")
    assert mended("größe") == ("größe", "")
    assert damage(text) == "0xFF, 0xFE, 0x80, 0x81"


def test_bad_byte_in_a_late_block_is_seen() -> None:
    data = b"a" * 3_000_000 + b"caf\xe9"
    assert detect(lambda: read_blocks(io.BytesIO(data))) == Encoding("cp1252", True)


@pytest.mark.parametrize(
    "head",
    [
        b"%PDF-1.7 text",
        b"PK\x03\x04",
        b"\x89PNG\r\n",
        b"\x1f\x8b\x08",
        b"abc\0def",
        b"\x01\x02\x03\x04abc",
        b"PAR1",
    ],
)
def test_binary(head: bytes) -> None:
    assert binary_reason(head)


@pytest.mark.parametrize("head", [b"", b"text\n", "日本".encode("utf-16"), b"\x1b[31mred\x1b[0m log\n" * 5])
def test_not_binary(head: bytes) -> None:
    assert binary_reason(head) is None


@pytest.mark.parametrize("name", ["no-such-code", "rot13", "base64", "a\0b"])
def test_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown encoding"):
        check_encoding(name)
