"""Two processes, or threads, with the same texts embed each of them once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

import textkin
from textkin.errors import BadVectorsError, StorageFullError
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.jobs.bulk.report import BulkOptions
from textkin.ledger import Ledger, embed
from textkin.ledger.claims import WaitGivenUp
from textkin.models.fingerprint import CANARIES
from textkin.models.hashing import HashingModel
from textkin.testing import ProviderServer
from textkin.text.digest import text_digest
from textkin.types import Embedded

TEXTS = [f"text number {number}" for number in range(60)]
F = HashingModel().info.fingerprint


class Counting:
    """Counts what it is asked for; ``before`` is called first."""

    def __init__(self, before: Any = None) -> None:
        self._inner = HashingModel()
        self._before = before
        self.info = self._inner.info
        self.count_tokens = self._inner.count_tokens
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str], *rest: Any) -> Embedded:
        if self._before is not None and texts[0] not in CANARIES:
            self._before(texts)
        self.texts += [text for text in texts if text not in CANARIES]
        return self._inner.embed(texts, *rest)


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) if os.name == "posix" else None,
    )


def left_behind(ledger: Ledger) -> list[Any]:
    with ledger._transaction(write=False) as connection:
        rows = connection.execute("SELECT lock FROM claims UNION ALL SELECT lock FROM claimants").fetchall()
    return rows + list(ledger.path.parent.glob("*claims-*"))


_OTHER = """
import sys
from test_ledger_claims import TEXTS
import textkin
with textkin.Collection(sys.argv[1], "openai:text-embedding-3-small") as notes:
    print("ready", flush=True)
    sys.stdin.readline()
    report = notes.add(TEXTS)
print(report.added, report.embedded, report.from_ledger, notes.spend.spent().tokens)
"""


def test_two_processes_pay_for_each_text_once_canaries_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer(latency=0.1) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        other = python(_OTHER, tmp_path / "a.kin")
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        with textkin.Collection(tmp_path / "b.kin", "openai:text-embedding-3-small") as notes:
            report = notes.add(TEXTS)
            spent = notes.spend.spent().tokens
        added, embedded, from_ledger, tokens = map(int, other.communicate()[0].split())
        assert (added, report.added) == (60, 60)
        assert (embedded + report.embedded, from_ledger + report.from_ledger) == (60, 60)
        assert server.billing.paid_twice == 0
        assert tokens + spent == server.billing.tokens
    with Ledger() as ledger:
        assert left_behind(ledger) == []


_DYING = """
import sys
from pathlib import Path
from test_ledger_claims import TEXTS, Counting
from textkin.ledger import Ledger, embed

def stop(texts):
    print("claimed", flush=True)
    sys.stdin.readline()

with Ledger(Path(sys.argv[1])) as ledger:
    embed(Counting(stop), TEXTS, "document", ledger)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_the_claims_of_a_killed_process_are_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    other = python(_DYING, path)
    assert other.stdout is not None
    assert other.stdout.readline() == "claimed\n"
    with Ledger(path) as ledger:
        with pytest.raises(WaitGivenUp):
            embed(HashingModel(), TEXTS, "document", ledger, given_up=lambda: True)
        assert len(left_behind(ledger)) == 60 + 2 + 2
        other.kill()
        other.communicate()
        model = Counting()
        assert embed(model, TEXTS, "document", ledger).embedded == 60
        assert len(model.texts) == 60
    with Ledger(path) as ledger:
        assert left_behind(ledger) == []


_WAITING = """
import sys
from pathlib import Path
from test_ledger_claims import TEXTS
from textkin.ledger import Ledger, embed
from textkin.models.hashing import HashingModel

def said():
    print("waiting", flush=True)

with Ledger(Path(sys.argv[1])) as ledger:
    try:
        embed(HashingModel(), TEXTS, "document", ledger, given_up=said)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
def test_ctrl_c_ends_the_waiting(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    holder = python(_DYING, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "claimed\n"
    waiter = python(
        _WAITING.replace(
            "import sys", "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)", 1
        ),
        path,
    )
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == "waiting\n"
    waiter.send_signal(signal.SIGINT)
    assert waiter.communicate()[0].split()[-1] == "interrupted"
    assert holder.communicate("\n")[1] == ""
    with Ledger(path) as ledger:
        assert embed(Counting(), TEXTS, "document", ledger).from_ledger == 60
        assert left_behind(ledger) == []


_ORDERED = """
import sys
from pathlib import Path
from test_ledger_claims import Counting
from textkin.ledger import Ledger, embed

model = Counting()
texts = [f"text number {number}" for number in range(400)][:: int(sys.argv[2])]
with Ledger(Path(sys.argv[1])) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    embed(model, texts, "document", ledger, block=7, first_block=7)
print(*(text.split()[-1] for text in model.texts))
"""


def test_two_orders_never_wait_for_each_other_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    both = [python(_ORDERED, path, step) for step in (1, -1)]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    counted = [int(number) for one in both for number in one.communicate()[0].split()]
    assert sorted(counted) == list(range(400))


def test_threads_of_one_ledger_and_of_two_wait_for_each_other(tmp_path: Path) -> None:
    for second_path in (None, tmp_path / "1" / "ledger.db"):
        path = tmp_path / f"{int(second_path is not None)}" / "ledger.db"
        with Ledger(path) as first, Ledger(path) as other:
            claimed, go_on = threading.Event(), threading.Event()

            def hold(_: object, claimed: threading.Event = claimed, go_on: threading.Event = go_on) -> None:
                claimed.set()
                go_on.wait()

            def waiting(go_on: threading.Event = go_on) -> bool:
                go_on.set()
                return False

            slow, quick = Counting(hold), Counting()
            thread = threading.Thread(target=embed, args=(slow, TEXTS, "document", first))
            thread.start()
            claimed.wait()
            result = embed(
                quick, [*TEXTS[::-1], "mine"], "document", other if second_path else first, given_up=waiting
            )
            thread.join()
            assert (quick.texts, len(slow.texts)) == (["mine"], 60)
            assert (result.from_ledger, result.embedded) == (60, 1)
            np.testing.assert_allclose(result.vectors[:60], HashingModel().embed(TEXTS[::-1]).vectors, atol=1e-7)


def test_a_bulk_job_that_is_stopped_while_it_waits_ends_and_goes_on_later(tmp_path: Path) -> None:
    source, stop = tmp_path / "texts.csv", threading.Event()
    source.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    with Ledger() as holder:
        # Whoever has claimed them is slow.
        assert len(holder.claims.take(1, F, "", [text_digest(text) for text in TEXTS[:5]]).mine) == 5
        waited = Counting(lambda texts: stop.set())  # the others come first
        report = embed_to_folder([source], tmp_path / "out", waited, BulkOptions(threads=1), stop=stop)
        assert (report.stopped, report.rows) == (True, 0)
        assert sorted(waited.texts) == sorted(TEXTS[5:])
    again = Counting()
    report = embed_to_folder([source], tmp_path / "out", again, BulkOptions(resume=True))
    assert (report.complete, report.rows) == (True, 60)
    assert sorted(again.texts) == TEXTS[:5]


def test_what_fails_is_free_for_others(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise BadVectorsError("no vectors today")

    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(BadVectorsError):
            embed(Counting(fail), TEXTS, "document", ledger)
        assert ledger.claims.take(ledger.claims.new_call(), F, "", [b"x"]).mine == [b"x"]
        assert embed(Counting(), TEXTS, "document", ledger).embedded == 60


def test_a_claim_without_a_sign_of_life_is_void(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as first, Ledger(path) as second:
        assert first.claims.take(1, F, "", [b"x", b"y"]).mine == [b"x", b"y"]
        assert second.claims.take(1, F, "", [b"x"]).others == [b"x"]
        first.claims.release(1, [b"y"])
        assert second.claims.take(1, F, "", [b"y"]).mine == [b"y"]
        with first._transaction(write=True) as connection:
            connection.execute("UPDATE claimants SET renewed = renewed - 7200")
        assert second.claims.take(1, F, "", [b"x"]).mine == [b"x"]


def test_a_ledger_that_forgets_at_once_never_makes_anyone_wait(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.limit(0)
        for _ in range(2):
            assert embed(Counting(), TEXTS, "document", ledger).embedded == 60


def test_one_text_of_a_model_on_this_machine_is_not_claimed(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        embed(Counting(), TEXTS[:2], "document", ledger)
        before = left_behind(ledger)
        embed(Counting(), ["one"], "document", ledger)
        assert left_behind(ledger) == before


def test_what_a_killed_claimant_leaves_goes_when_the_ledger_is_opened_again(tmp_path: Path) -> None:
    code = """
import os, sys
from textkin.ledger import Ledger
ledger = Ledger(sys.argv[1])
ledger.claims.take(ledger.claims.new_call(), "f" * 64, "document", [b"d" * 32])
print("claimed", flush=True)
sys.stdin.read()
"""
    place = tmp_path / "ledger.db"
    with Ledger(place) as beside:
        call = beside.claims.new_call()
        beside.claims.take(call, "e" * 64, "document", [b"e" * 32])
        child = python(code, place)
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        child.kill()
        child.communicate()
        assert len(list(tmp_path.glob("ledger.db.claims-*"))) == 2
        Ledger(place).close()
        assert len(list(tmp_path.glob("ledger.db.claims-*"))) == 1, "the lock of who lives stays"
    assert not list(tmp_path.glob("ledger.db.claims-*"))


def test_claims_of_a_put_that_failed_are_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rolled back with the vectors, they must not bind others for as long as this process lives."""

    def full(*_: object) -> None:
        raise apsw.FullError

    digest = text_digest("a text")
    with Ledger(tmp_path / "ledger.db") as one, Ledger(tmp_path / "ledger.db") as other:
        call = one.claims.new_call()
        assert one.claims.take(call, F, "document", [digest]).mine == [digest]
        vector = np.eye(1, HashingModel().info.dimensions, dtype=np.float32)
        with monkeypatch.context() as patched:
            patched.setattr("textkin.ledger.entries.shrink", full)
            with pytest.raises(StorageFullError):
                one.put(F, "document", [digest], vector)
        one.claims.release(call)
        assert other.claims.take(other.claims.new_call(), F, "document", [digest]).mine == [digest]
