"""What is shown: nothing steers a terminal, nothing hides, and what shapes letters and pictures stays."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from textkin.cli.visible import safe, safe_json

HIDING = (
    "\x1b\x07\x7f\x9b\xad\u034f\u061c\u180e\u200b\u200e\u2028\u202e\u2060\u2063\u2066\u3164"
    "\ufeff\ufff9\ud800\U000e0041\U000e0100"
)
SHAPING = (
    "می\u200cخواهم",  # a joiner between letters of Arabic
    "क्\u200dष",  # and of Devanagari
    "👩\u200d❤\ufe0f\u200d👨 1\ufe0f\u20e3 👨🏽\u200d🚀",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
    "葛\U000e0100城",  # a variant of a name's character
)


@pytest.mark.parametrize("sign", HIDING)
def test_what_hides_is_shown(sign: str) -> None:
    shown = safe(f"a{sign}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) > 3
    if sign >= "\x7f":
        told = safe_json(json.dumps(f"a{sign}b", ensure_ascii=False))
        assert told.isascii()
        assert json.loads(told) == f"a{sign}b"


@pytest.mark.parametrize("text", SHAPING)
def test_what_shapes_stays(text: str) -> None:
    assert safe(text) == text
    assert safe_json(text) == text


@pytest.mark.parametrize(
    "text", ["a\u200db", "pass\u200cword", "\U0001f3f4\U000e0041", "a\ufe0f", "7\ufe0f", "\u200d🚀"]
)
def test_the_same_signs_elsewhere_are_shown(text: str) -> None:
    assert safe(text) != text


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_csv_is_safe_on_a_terminal_and_exact_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    from textkin.cli.kept_file import write_lines
    from textkin.cli.output import write_rows

    text = 'steer \x1b]52;c;aGk=\x07 and hide\xad\u2063 "it"'
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as screen:
        monkeypatch.setattr(sys, "stdout", screen)
        write_rows([{"text": text}], (), "csv")
        screen.flush()
        write_lines(f"/dev/fd/{screen.fileno()}", [{"text": text}])
    shown = bytearray()
    with suppress(OSError):  # where all is read of a terminal that is closed
        while part := os.read(main, 4096):
            shown += part
    os.close(main)
    seen = shown.decode()
    assert "\x1b" not in seen
    assert "\x07" not in seen
    assert seen.count("steer \\x1b]52;c;aGk=\\x07 and hide\\xad\\u2063") == 1
    with (tmp_path / "out.csv").open("w", encoding="utf-8", newline="") as file:
        monkeypatch.setattr(sys, "stdout", file)
        write_rows([{"text": text}], (), "csv")
    assert text.replace('"', '""') in (tmp_path / "out.csv").read_text(encoding="utf-8")
