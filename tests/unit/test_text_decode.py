"""Encodings: marked, chosen, UTF-8, declared, guessed; and what is no text at all."""

from __future__ import annotations

import io

import pytest

from textkin.errors import InputError
from textkin.text.decode import Encoding, binary_reason, check_encoding, detect, read_blocks

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
    data.decode(encoding.name)


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
