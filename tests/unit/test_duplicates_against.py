"""New records against known ones: the same as brute force, texts first, vetoes, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import textkin
from textkin.duplicates.against import find_known
from textkin.errors import InputError
from textkin.types import Record


def test_the_best_partner_of_each_is_brute_force_s() -> None:
    dice = np.random.default_rng(0)
    old = dice.normal(size=(200, 8)).astype(np.float32)
    new = np.concatenate([old[:60] + 0.3 * dice.normal(size=(60, 8)), dice.normal(size=(40, 8))]).astype(
        np.float32
    )
    names = [f"n{n}" for n in range(100)], [f"o{n}" for n in range(200)]
    report = find_known((names[0], names[0], new), (names[1], names[1], old), 0.9)
    unit_new = new.astype(np.float64) / np.linalg.norm(new.astype(np.float64), axis=1, keepdims=True)
    unit_old = old.astype(np.float64) / np.linalg.norm(old.astype(np.float64), axis=1, keepdims=True)
    scores = unit_new @ unit_old.T
    expected = {f"n{n}": f"o{scores[n].argmax()}" for n in range(100) if scores[n].max() >= 0.9}
    assert len(expected) > 20
    assert {one.id: one.partner for one in report.known} == expected
    assert set(report.new) == set(names[0]) - set(expected)
    assert report.stats.pairs == 100 * 200


def test_texts_first_and_vetoes() -> None:
    same = np.array([[1, 0]], dtype=np.float32)
    far = np.array([[0, 1], [1, 0]], dtype=np.float32)
    report = find_known((["n"], ["item  1"], same), (["a", "b"], ["item 1", "item 2"], far), 0.9)
    assert [(one.partner, one.score, one.reason) for one in report.known] == [("a", 1.0, "same text")]
    other = find_known((["n"], ["item 3"], same), (["a", "b"], ["item 1", "item 2"], far), 0.9, veto="numbers")
    assert (other.known, other.new) == ((), ("n",))
    assert [(pair.id, pair.other, dict(pair.why)) for pair in other.vetoed] == [("n", "b", {"numbers": "3 / 2"})]


@pytest.fixture
def notes(tmp_path: Path) -> textkin.Collection:
    made = textkin.Collection(tmp_path / "n.kin", "hashing")
    made.add(["one text about cats", "a text about dogs"], ids=["a", "b"])
    return made


def test_a_collection_takes_texts_and_records_and_keeps_nothing(notes: textkin.Collection) -> None:
    report = notes.against(["one  text about cats", "nothing like it"], ids=["x", "y"], threshold=0.9)
    assert ([one.id for one in report.known], report.new) == (["x"], ("y",))
    assert report.summary == "2 new records: 1 already there at 0.9, 1 new"
    assert notes.against(iter(["one text about cats"])).known[0].partner == "a"
    assert notes.against("a text about dogs").known[0].partner == "b"
    assert notes.against([Record("r", "a text about dogs")]).rows()[0]["id"] == "r"
    assert notes.against([]).total == 0
    assert notes.count() == 2
    with pytest.raises(InputError, match="either texts or records"):
        notes.against(["a", Record("r", "b")])


def test_an_empty_collection_knows_nothing(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "e.kin", "hashing") as empty, pytest.raises(InputError, match="is empty"):
        empty.against("a text")
