"""Ctrl-C at any moment of work that is paid for: what was answered is in the ledger, and a second one ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import textkin
from textkin.ledger import Ledger, embed
from textkin.models import interrupts
from textkin.testing import ProviderServer
from textkin.text.digest import text_digest

TEXTS = [f"text number {number}" for number in range(700)]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Interrupted(Ledger):
    """Somebody presses Ctrl-C while the n-th answer is being kept."""

    def __init__(self, path: Path, nth: int) -> None:
        super().__init__(path)
        self._left = nth

    def put(self, *given: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            interrupt()
        return super().put(*given, **named)


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_ctrl_c_while_an_answer_is_kept_loses_nothing(
    nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer() as server, Interrupted(tmp_path / "ledger.db", nth) as ledger:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        model = textkin.load_model("openai:text-embedding-3-small?dimensions=16")
        info = model.info
        with pytest.raises(KeyboardInterrupt):
            embed(model.unwrap(), TEXTS, "document", ledger)
        paid = {digest for _, _, digest in server.billing.texts}
        kept = ledger.recall(info.fingerprint, "", [bytes.fromhex(text_digest(text).hex()) for text in TEXTS])
    digests = {text_digest(text).hex() for text in TEXTS}
    assert {digest.hex() for digest in kept} == paid & digests
    assert kept


def test_one_that_nobody_asked_about_comes_at_the_end() -> None:
    seen = []

    def work() -> None:
        with interrupts.deferred():
            interrupt()
            seen.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_where_somebody_is_ready_for_it_and_once() -> None:
    with interrupts.deferred():
        interrupts.check()
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()


def test_a_second_one_goes_through() -> None:
    with interrupts.deferred():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_other_threads_change_nothing() -> None:
    def look() -> None:
        with interrupts.deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert seen == [signal.default_int_handler]
