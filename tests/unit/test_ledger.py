"""The ledger: what it keeps, what it forgets, and embedding through it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import apsw
import numpy as np
import pytest

from textkin.errors import (
    BadVectorsError,
    BudgetError,
    EngineError,
    InputError,
    ModelMismatchError,
    ProviderError,
)
from textkin.ledger import Ledger, embed
from textkin.models.fingerprint import CANARIES
from textkin.models.hashing import HashingModel
from textkin.models.spending import Budget, Spend
from textkin.text.digest import text_digest
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role

F, G = "ab" * 32, "cd" * 32
D = 8


def unit(count: int, seed: int = 0, width: int = D) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def digests(count: int, first: int = 0) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in range(first, first + count)]


def info(fingerprint: str = F, name: str = "toy", dimensions: int = D) -> ModelInfo:
    return ModelInfo(name, dimensions, 100, fingerprint, details={"kind": "test"})


def last_used(ledger: Ledger, day: int, numbers: Sequence[bytes]) -> None:
    database = apsw.Connection(str(ledger.path))
    database.executemany("UPDATE entries SET day = ? WHERE digest = ?", [(day, number) for number in numbers])
    database.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def test_it_lies_in_the_data_folder_and_stays(own_places: Path) -> None:
    with Ledger() as ledger:
        assert ledger.path == own_places / "data" / "ledger.db"
        ledger.put(F, "", digests(3), unit(3))
    with Ledger() as ledger:
        found = ledger.recall(F, "", digests(5))
    assert set(found) == set(digests(3))
    assert all(np.array_equal(found[key].vector, row) for key, row in zip(digests(3), unit(3), strict=True))


def test_models_and_roles_are_kept_apart(ledger: Ledger) -> None:
    ledger.put(F, "document", digests(1), unit(1, 1))
    ledger.put(F, "query", digests(1), unit(1, 2))
    ledger.put(G, "document", digests(1), unit(1, 3, 4))
    for fingerprint, role, expected in (
        (F, "document", unit(1, 1)),
        (F, "query", unit(1, 2)),
        (G, "document", unit(1, 3, 4)),
    ):
        assert np.array_equal(ledger.recall(fingerprint, role, digests(1))[digests(1)[0]].vector, expected[0])
    assert ledger.recall(G, "query", digests(1)) == {}
    assert ledger.recall(F, "", digests(1)) == {}


def test_the_first_vector_of_a_text_stays(ledger: Ledger) -> None:
    first = unit(2)
    assert np.array_equal(ledger.put(F, "", digests(2), first, tokens=[3, 5], truncated=[1]), first)
    second = unit(3, 7)
    standing = ledger.put(F, "", digests(3), second)
    assert np.array_equal(standing[:2], first)
    assert np.array_equal(standing[2], second[2])
    known = ledger.recall(F, "", digests(3))
    assert [(known[key].tokens, known[key].truncated) for key in digests(3)] == [(3, False), (5, True), (0, False)]
    assert ledger.stats()[0].texts == 3


def test_what_does_not_fit_is_refused_and_nothing_is_kept(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="2 digests"):
        ledger.put(F, "", digests(2), unit(3))
    with pytest.raises(InputError, match="token"):
        ledger.put(F, "", digests(2), unit(2), tokens=[1])
    with pytest.raises(InputError, match="NaN"):
        ledger.put(F, "", digests(2), unit(2) * np.nan)
    assert ledger.stats() == []
    ledger.put(F, "", digests(2), unit(2))
    with pytest.raises(ModelMismatchError, match="8 dimensions"):
        ledger.put(F, "", digests(2, 10), unit(2, 0, 4))
    assert ledger.stats()[0].texts == 2


def test_no_text_is_in_the_file(ledger: Ledger) -> None:
    text = "the quick brown secret"
    embed(HashingModel(), [text], "document", ledger)
    ledger.close()
    assert text_digest(text) in ledger.path.read_bytes()
    for word in (b"quick", b"brown", b"secret"):
        assert word not in ledger.path.read_bytes()


def test_sizes_and_uses_by_model(ledger: Ledger) -> None:
    ledger.remember_model(info(), unit(16))
    ledger.remember_model(info("ef" * 32, "idle"), unit(16))
    ledger.put(F, "document", digests(3), unit(3))
    ledger.put(F, "query", digests(1), unit(1))
    ledger.put(G, "", digests(9), unit(9))
    last_used(ledger, 19_000, digests(9))
    ledger.recall(F, "query", digests(1))
    uses = ledger.stats()
    assert [(use.name, use.fingerprint, use.texts, use.dimensions) for use in uses] == [
        ("cdcdcdcd", G, 9, D),
        ("toy", F, 4, D),
        ("idle", "ef" * 32, 0, D),
    ]
    assert uses[0].last_used == date(2022, 1, 8)
    assert uses[1].last_used is not None
    assert uses[1].last_used > date(2025, 1, 1)
    assert uses[2].last_used is None
    assert sum(use.bytes for use in uses) == ledger.size() > 13 * 4 * D


def test_the_limit_takes_what_was_not_used_for_longest(ledger: Ledger) -> None:
    ledger.put(F, "", digests(100), unit(100))
    last_used(ledger, 10, digests(100))
    last_used(ledger, 5, digests(20, 40))
    ledger.recall(F, "", digests(10))  # used today
    half = ledger.size() // 2
    gone = ledger.limit(half)
    assert 50 <= gone <= 60
    assert ledger.size() <= half
    left = set(ledger.recall(F, "", digests(100)))
    assert set(digests(10)) <= left
    assert not set(digests(20, 40)) & left
    ledger.put(F, "", digests(30, 1000), unit(30))  # and from now on
    assert ledger.size() <= half
    assert set(ledger.recall(F, "", digests(30, 1000))) == set(digests(30, 1000))
    assert ledger.limit(None) == 0
    ledger.put(F, "", digests(100, 2000), unit(100))
    assert ledger.size() > half
    with pytest.raises(InputError):
        ledger.limit(-1)


def test_the_limit_outlives_the_process_and_the_file_shrinks(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for start in range(0, 3000, 500):
            ledger.put(F, "", digests(500, start), unit(500, 0, 256))
        ledger.limit(200_000)
    assert (tmp_path / "ledger.db").stat().st_size < 1_000_000
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.put(F, "", digests(500, 9000), unit(500, 0, 256))
        assert ledger.size() <= 200_000


def test_pruning(ledger: Ledger) -> None:
    ledger.remember_model(info(), unit(16))
    ledger.remember_model(info("abab" + "0" * 60, "toy2"), unit(16))
    ledger.put(F, "document", digests(5), unit(5))
    ledger.put(F, "query", digests(5), unit(5))
    ledger.put("abab" + "0" * 60, "", digests(4), unit(4))
    ledger.put(G, "", digests(3), unit(3))
    last_used(ledger, 10, digests(2))
    with pytest.raises(InputError, match="older_than_days"):
        ledger.prune()
    with pytest.raises(InputError, match="more digits"):
        ledger.prune("abab")
    for wrong in ("nobody", "cd", "ababab%"):
        with pytest.raises(InputError, match="it has those of"):
            ledger.prune(wrong)
    assert ledger.prune("toy", older_than_days=30) == 4
    assert ledger.prune(G[:6]) == 3
    assert ledger.prune("toy2", older_than_days=100_000) == 0
    assert ledger.prune(older_than_days=30) == 2
    assert ledger.prune(older_than_days=0) == 3 + 3 + 2
    assert ledger.size() == 0
    assert ledger.recall(F, "query", digests(5)) == {}


def test_pruning_of_what_is_dated_wrongly(ledger: Ledger) -> None:
    ledger.remember_model(info(), unit(16))
    ledger.put(F, "", digests(6), unit(6))
    last_used(ledger, 1_000_000, digests(2))  # the clock was wrong
    for days in (-5, -1):
        with pytest.raises(InputError, match=f"at least 0, not {days}"):
            ledger.prune(older_than_days=days)
        with pytest.raises(InputError, match="at least 0"):
            ledger.prune("toy", older_than_days=days)
    assert ledger.prune(older_than_days=1) == 0
    assert len(ledger.recall(F, "", digests(6))) == 6
    assert ledger.prune(older_than_days=0) == 6
    ledger.put(F, "", digests(6), unit(6))
    last_used(ledger, 1_000_000, digests(2))
    assert ledger.prune("toy") == 6


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be deleted there")
def test_a_ledger_deleted_or_replaced_under_an_open_one_loses_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "data" / "ledger.db"
    ledger = Ledger(path)
    ledger.put(F, "", digests(3), unit(3))
    shutil.rmtree(path.parent)
    assert ledger.recall(F, "", digests(3)) == {}
    ledger.put(F, "", digests(2), unit(2))
    with Ledger(path) as other:
        assert len(other.recall(F, "", digests(3))) == 2
    path.rename(tmp_path / "away")
    with Ledger(path) as other:
        other.put(F, "", digests(1, 50), unit(1))
        ledger.put(F, "", digests(1, 60), unit(1))
        assert ledger.prune(older_than_days=9) == 0
        ledger.close()
        assert set(other.recall(F, "", digests(100))) == {*digests(1, 50), *digests(1, 60)}


def test_use_is_noted_once_a_day(ledger: Ledger) -> None:
    ledger.put(F, "", digests(5), unit(5))
    ledger.close()
    data = ledger.path.read_bytes()
    with Ledger(ledger.path) as again:
        again.recall(F, "", digests(5))
    assert ledger.path.read_bytes() == data
    last_used(ledger, 10, digests(2))
    with Ledger(ledger.path) as again:
        again.recall(F, "", digests(1))
        assert again.prune(older_than_days=30) == 1


def test_models_are_known_by_their_canaries(ledger: Ledger) -> None:
    one, two = unit(16, 1), unit(16, 2)
    near = one + 1e-6
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    ledger.remember_model(info(F), one)
    ledger.remember_model(info(G, "other"), two)
    ledger.remember_model(info(G, "renamed"), two)
    assert [model.name for model in ledger.models()] == ["renamed", "toy"]
    assert ledger.models()[1] == info(F)
    assert ledger.known_by_canaries(one, 1e-5) == F
    assert ledger.known_by_canaries(near.astype(np.float32), 1e-5) == F
    assert ledger.known_by_canaries(two, 1e-5) == G
    assert ledger.known_by_canaries(np.concatenate([one[:15], two[15:]]), 1e-5) is None
    assert ledger.known_by_canaries(one[:15], 1e-5) is None
    assert ledger.known_by_canaries(unit(16, 1, 4), 1e-5) is None
    twin = one + 1e-2
    twin /= np.linalg.norm(twin, axis=1, keepdims=True)
    ledger.remember_model(info("0f" * 32, "twin"), twin.astype(np.float32))
    assert ledger.known_by_canaries(one, 1e-2) == F  # the nearest one
    assert ledger.known_by_canaries(twin.astype(np.float32), 1e-2) == "0f" * 32


def test_a_model_that_gives_zero_for_a_canary_is_known(ledger: Ledger) -> None:
    one = unit(16, 1)
    one[2] = 0
    other = one.copy()
    other[5] = 0
    ledger.remember_model(info(F), one)
    assert ledger.known_by_canaries(one, 1e-5) == F
    assert ledger.known_by_canaries(other, 1e-5) is None
    assert ledger.known_by_canaries(unit(16, 1), 1e-5) is None
    ledger.remember_model(info(G), np.zeros((16, D), dtype=np.float32))
    assert ledger.known_by_canaries(np.zeros((16, D), dtype=np.float32), 1e-5) == G
    assert ledger.known_by_canaries(one, 1e-5) == F


def test_models_of_one_kind_only_are_known_by_their_canaries(ledger: Ledger) -> None:
    one = unit(16, 1)
    ledger.remember_model(replace(info(F), details={"kind": "service"}), one)
    ledger.remember_model(replace(info(G), details={}), one)
    assert ledger.known_by_canaries(one, 1e-5) == F
    assert ledger.known_by_canaries(one, 1e-5, kind="service") == F
    assert ledger.known_by_canaries(one, 1e-5, kind="local") is None
    ledger.remember_model(replace(info("ef" * 32), details={"kind": "local"}), one)
    assert ledger.known_by_canaries(one, 1e-5, kind="local") == "ef" * 32


def test_processes_and_threads_share_it(tmp_path: Path) -> None:
    code = """
import hashlib, sys
from pathlib import Path
import numpy as np
from textkin.ledger import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    for turn in range(10):
        keys = [hashlib.sha256(str(n).encode()).digest() for n in range(turn * 20, turn * 20 + 30)]
        ledger.put("ab" * 32, "", keys, np.full((30, 4), float(sys.argv[2]), np.float32))
"""
    path = tmp_path / "new" / "ledger.db"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "12"]
    assert [worker.wait() for worker in workers] == [0, 0]
    with Ledger(path) as ledger:
        assert len(ledger.recall(F, "", digests(210))) == 210
        assert ledger.stats()[0].texts == 210
        threads = [
            threading.Thread(target=ledger.put, args=(F, "", digests(20, 500 * n), unit(20, n, 4)))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.stats()[0].texts == 210 + 60


def test_a_killed_writer_loses_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    code = """
import hashlib, os, sys
from pathlib import Path
import numpy as np
from textkin.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.put("ab" * 32, "", [hashlib.sha256(b"0").digest()], np.ones((1, 4), np.float32))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "ledger.db")], check=False)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert len(ledger.recall(F, "", digests(1))) == 1


# -- embedding ----------------------------------------------------------------------------------------------


class Counting:
    """The hashing model, with a note of what it was sent beside the canary texts."""

    def __init__(self, role_sensitive: bool = False, max_tokens: int = 5) -> None:
        self._model = HashingModel(32, max_tokens)
        self.info = replace(self._model.info, role_sensitive=role_sensitive)
        self.sent: list[list[str]] = []

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        if not set(texts) <= set(CANARIES):
            self.sent.append(list(texts))
        return self._model.embed(texts, role, progress)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        return self._model.count_tokens(texts, role)


def test_each_different_text_is_sent_once_ever(ledger: Ledger) -> None:
    model = Counting()
    texts = ["one", "two", "one", "three three", "one two three four five six", "two"]
    result = embed(model, texts, "document", ledger, block=2)
    assert model.sent == [["one", "two"], ["three three", "one two three four five six"]]
    assert (result.from_ledger, result.embedded, result.truncated, result.tokens) == (0, 4, (4,), 10)
    expected = HashingModel(32, 5).embed(texts).vectors
    assert np.allclose(result.vectors, expected, atol=1e-6)
    assert result.vectors.dtype == np.float32
    assert result.vectors.flags.c_contiguous
    again = embed(model, ["new", *reversed(texts), "new"], "query", ledger)
    assert model.sent[2:] == [["new"]]
    assert (again.from_ledger, again.embedded, again.truncated, again.tokens) == (6, 1, (2,), 1)
    assert np.array_equal(again.vectors[1:7], result.vectors[::-1])


def test_a_role_sensitive_model_is_asked_for_each_role(ledger: Ledger) -> None:
    model = Counting(role_sensitive=True)
    for role in ("document", "query", "document"):
        embed(model, ["one"], role, ledger)  # type: ignore[arg-type]
    assert model.sent == [["one"], ["one"]]


def test_without_a_ledger_duplicates_are_still_sent_once() -> None:
    model = Counting()
    result = embed(model, ["a", "b", "a"], "document", None)
    assert model.sent == [["a", "b"]]
    assert (result.from_ledger, result.embedded) == (0, 2)
    assert np.array_equal(result.vectors[0], result.vectors[2])


def test_nothing_gives_nothing(ledger: Ledger) -> None:
    model = Counting()
    result = embed(model, [], "document", ledger)
    assert result.vectors.shape == (0, 32)
    assert model.sent == []
    with pytest.raises(InputError):
        embed(model, ["x"], "document", ledger, block=0)


def test_lone_surrogates_are_replaced_before_anything(ledger: Ledger) -> None:
    model = Counting()
    result = embed(model, ["a\ud800b", "a\ufffdb"], "document", ledger)
    assert model.sent == [["a\ufffdb"]]
    assert np.array_equal(result.vectors[0], result.vectors[1])


def test_progress_counts_texts_and_only_grows(ledger: Ledger) -> None:
    embed(Counting(), ["known", "too"], "document", ledger)
    said: list[tuple[int, int | None]] = []
    texts = ["known", "a", "a", "too", "b", "c", "a", "known"]
    embed(Counting(), texts, "document", ledger, lambda done, total: said.append((done, total)), block=2)
    assert said[0] == (3, 8)
    assert said[-1] == (8, 8)
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def test_each_block_is_kept_before_the_next_is_sent(ledger: Ledger) -> None:
    class Failing(Counting):
        def embed(
            self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None
        ) -> Embedded:
            if "c" in texts:
                raise ConnectionError("gone")
            return super().embed(texts, role, progress)

    with pytest.raises(ConnectionError):
        embed(Failing(), ["a", "b", "c", "d"], "document", ledger, block=2)
    model = Counting()
    result = embed(model, ["a", "b", "c", "d"], "document", ledger)
    assert model.sent == [["c", "d"]]
    assert result.from_ledger == 2


class Answering(Counting):
    """Answers with rows that are given to it."""

    def __init__(self, rows: object, tokens: int | None = None) -> None:
        super().__init__()
        self._rows = rows
        self._tokens = tokens

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        tokens = np.ones(len(texts) if self._tokens is None else self._tokens, dtype=np.int64)
        return Embedded(self._rows, tokens, ())  # type: ignore[arg-type]


def test_rows_of_any_length_become_unit_rows(ledger: Ledger) -> None:
    rows = (unit(3, 0, 32) * np.array([[1e-30], [3.0], [1e30]])).astype(np.float32)
    result = embed(Answering(rows), ["a", "b", "c"], "document", ledger)
    assert np.allclose(result.vectors, unit(3, 0, 32), atol=1e-6)
    exact = unit(3, 0, 32).astype(np.float64)
    assert np.allclose(embed(Answering(exact), ["a", "b", "c"], "document", None).vectors, exact, atol=1e-6)


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [(1, np.nan, "number 3 with NaN"), (0, np.inf, "number 1"), (1, 0.0, "number 3 with a zero")],
)
def test_bad_rows_are_named_by_the_texts_number(ledger: Ledger, row: int, value: float, expected: str) -> None:
    embed(Counting(), ["known", "too"], "document", ledger)
    rows = unit(2, 0, 32)
    rows[row] = value
    with pytest.raises(BadVectorsError, match=expected):
        embed(Answering(rows), ["known", "a", "too", "b"], "document", ledger)
    assert len(ledger.recall(Counting().info.fingerprint, "", [text_digest("a"), text_digest("b")])) == 0


@pytest.mark.parametrize(
    "rows",
    [
        unit(1, 0, 32),
        unit(3, 0, 32),
        unit(2, 0, 31),
        unit(1, 0, 32)[0],
        np.ones((2, 32), dtype=np.int64),
        [None, None],
    ],
)
def test_a_wrong_shape_is_refused(ledger: Ledger, rows: object) -> None:
    with pytest.raises(BadVectorsError, match=r"hashing:32 was sent 2 texts"):
        embed(Answering(rows), ["a", "b"], "document", ledger)


def test_a_wrong_number_of_token_counts_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BadVectorsError, match="token counts"):
        embed(Answering(unit(2, 0, 32), tokens=1), ["a", "b"], "document", ledger)


def test_closing_twice_is_fine(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
    assert repr(ledger).endswith("ledger.db>")


class PartByPart(HashingModel):
    """Answers in two parts, the second first, and ends as it was told."""

    def __init__(self, end: BaseException | None = None) -> None:
        super().__init__(D)
        self.end = end

    def embed_parts(
        self, texts: Sequence[str], role: Role = "document"
    ) -> Iterator[tuple[Sequence[int], Embedded]]:
        middle = len(texts) // 2
        for rows in (range(middle, len(texts)), range(middle)):
            yield rows, self.embed([texts[row] for row in rows], role)
            if isinstance(self.end, ProviderError):
                yield (), Embedded(np.zeros((0, D), np.float32), np.zeros(0, np.int64), (), stopped=self.end)
            elif self.end is not None:
                raise self.end


def test_answers_that_come_in_parts_are_put_in_their_rows(ledger: Ledger) -> None:
    texts = [f"text {number}" for number in range(9)]
    told: list[int] = []
    result = embed(PartByPart(), [*texts, texts[3]], "document", ledger, lambda done, _: told.append(done))
    assert np.array_equal(result.vectors, HashingModel(D).embed([*texts, texts[3]]).vectors)
    assert result.embedded == 9
    assert told == [5, 10]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ProviderError("over")])
def test_what_came_before_the_end_is_in_the_ledger(ledger: Ledger, end: BaseException) -> None:
    texts = [f"text {number}" for number in range(10)]
    with pytest.raises(type(end)):
        embed(PartByPart(end), texts, "document", ledger)
    model = PartByPart()
    known = ledger.recall(model.info.fingerprint, "", [text_digest(text) for text in texts])
    assert set(known) == {text_digest(text) for text in texts[5:]}


class Slow(Counting):
    """Answers only once as many threads ask as can, so that each has looked at the budget before."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(max_tokens=100)
        self.tokens = 0
        self._lock = threading.Lock()
        self._fails = fails

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        with self._lock:
            self.tokens += sum(self.count_tokens(texts))
        time.sleep(0.1)
        if self._fails:
            raise EngineError("nothing answers")
        return super().embed(texts, role, progress)


@pytest.mark.parametrize("limit", [0, 3, 100, 203, 1000])
def test_threads_together_keep_a_limit_of_tokens(limit: int) -> None:
    model = Slow()
    errors: list[str] = []
    with Spend(Budget(max_tokens=limit)).counting() as spend:

        def some(number: int) -> None:
            try:
                with spend.counting():
                    embed(model, [f"text {number} {n}" for n in range(20)], "document", None, first_block=20)
            except BudgetError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=some, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wanted = 4 * 20 * 3
    spent = limit - limit % 3 if limit < wanted else wanted
    assert spend.spent().tokens == model.tokens == spent
    assert spend.spent().lost_tokens == 0
    assert spend.left() == limit - spent
    assert bool(errors) == (spent < wanted)
    # What was in flight when a thread was refused has been answered, so the sum is the last one.
    for error in errors:
        assert (
            f"the limit of {limit:,} tokens was passed: {spent:,} tokens were spent, and what comes next" in error
        )


def test_tokens_of_a_block_that_got_no_answer_count_as_lost() -> None:
    with Spend(Budget(max_tokens=100)).counting() as spend, pytest.raises(EngineError):
        embed(Slow(fails=True), ["some words"], "document", None)
    assert (spend.spent().tokens, spend.spent().lost_tokens, spend.left()) == (0, 2, 98)
