"""Vectors in files: what is kept, what is refused, and pairs that don't belong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textkin.errors import FileReadError, InputError
from textkin.types import ModelInfo
from textkin.vectors.files import load_vectors, save_vectors

ROWS = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
TEXTS = ["a", "b", "ü 漢", "\ud800", ""]
MODEL = ModelInfo(name="tiny", dimensions=3, max_tokens=8, fingerprint="f" * 64)


def test_round_trip(tmp_path: Path) -> None:
    path = save_vectors(tmp_path / "v", ROWS, texts=TEXTS, ids=list("vwxyz"), model=MODEL)
    assert path == tmp_path / "v.npy"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["v.json", "v.npy"]
    for given in (path, tmp_path / "v", str(path)):
        found = load_vectors(given)
        np.testing.assert_array_equal(found.vectors, ROWS)
        assert found.texts == tuple(TEXTS)
        assert found.ids == tuple("vwxyz")
        assert (found.model, found.fingerprint, found.dimension) == ("tiny", "f" * 64, 3)


def test_the_json_says_everything(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v.npy", ROWS, texts=["é"] * 5, model="named")
    content = (tmp_path / "v.json").read_text(encoding="utf-8")
    facts = json.loads(content)
    assert "é" in content
    assert len(facts.pop("sha256")) == len(facts.pop("content_sha256")) == 64
    assert facts == {
        "format": 1,
        "model": "named",
        "fingerprint": None,
        "dimension": 3,
        "count": 5,
        "dtype": "float32",
        "texts": ["é"] * 5,
    }


def test_any_numpy_reads_the_npy(tmp_path: Path) -> None:
    found = np.load(save_vectors(tmp_path / "v", ROWS))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, ROWS)


@pytest.mark.parametrize(
    "vectors",
    [
        ROWS.astype(np.float64),
        ROWS.astype(">f4"),
        np.asfortranarray(ROWS),
        np.repeat(ROWS, 2, axis=0)[::2],
        ROWS.tolist(),
    ],
)
def test_kinds_of_numbers(tmp_path: Path, vectors: Any) -> None:
    np.testing.assert_array_equal(load_vectors(save_vectors(tmp_path / "v", vectors)).vectors, ROWS)


def test_integers_and_halves(tmp_path: Path) -> None:
    whole = np.arange(6).reshape(2, 3)
    assert load_vectors(save_vectors(tmp_path / "v", whole)).vectors.tolist() == whole.tolist()
    half = ROWS.astype(np.float16)
    np.testing.assert_array_equal(load_vectors(save_vectors(tmp_path / "v", half)).vectors, half)


def test_empty(tmp_path: Path) -> None:
    found = load_vectors(save_vectors(tmp_path / "v", np.zeros((0, 4), np.float32), texts=[]), mmap=True)
    assert found.vectors.shape == (0, 4)
    assert found.texts == ()


def _with(row: int, value: float) -> Any:
    rows = ROWS.astype(np.float64)
    rows[row, 1] = value
    return rows


@pytest.mark.parametrize(
    ("vectors", "part"),
    [
        (_with(3, np.nan), "row 3"),
        (_with(2, np.inf), "row 2"),
        (_with(4, 1e300), "row 4"),
        (np.array([[1, 2**24 + 1]]), "row 0"),
        (np.ones(3), "shape"),
        (np.ones((1, 2, 3)), "shape"),
        ([[1.0], [1.0, 2.0]], "differ in length"),
        (np.array([["a"]]), "numbers"),
        (np.array([[True]]), "numbers"),
        (np.array([[1j]]), "numbers"),
        (np.array([[None]]), "numbers"),
    ],
)
def test_what_is_not_vectors_is_refused(tmp_path: Path, vectors: Any, part: str) -> None:
    with pytest.raises(InputError, match=part):
        save_vectors(tmp_path / "v", vectors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"texts": ["a"]}, "1 items for 5"),
        ({"texts": "abcde"}, "one string"),
        ({"texts": [1, 2, 3, 4, 5]}, "item 0"),
        ({"ids": ["a", "b", "c", "d", "a"]}, "different"),
        ({"model": ModelInfo(name="wide", dimensions=4, max_tokens=8, fingerprint="0" * 64)}, "wide"),
    ],
)
def test_labels_must_fit(tmp_path: Path, more: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        save_vectors(tmp_path / "v", ROWS, **more)


def test_another_json_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "reviews.json").write_text('[{"text": "mine"}]')
    with pytest.raises(InputError, match="in the way"):
        save_vectors(tmp_path / "reviews.npy", ROWS)
    assert (tmp_path / "reviews.json").read_text() == '[{"text": "mine"}]'
    assert not (tmp_path / "reviews.npy").exists()


def test_writing_again_replaces_both(tmp_path: Path) -> None:
    save_vectors(tmp_path / "v", ROWS, texts=TEXTS)
    save_vectors(tmp_path / "v", ROWS[:2])
    found = load_vectors(tmp_path / "v")
    assert len(found.vectors) == 2
    assert found.texts is None


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make it first"):
        save_vectors(tmp_path / "no" / "v", ROWS)


def test_a_bare_npy_is_enough(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ROWS.astype(np.float64))
    found = load_vectors(tmp_path / "v.npy")
    np.testing.assert_array_equal(found.vectors, ROWS)
    assert found.vectors.dtype == np.float32
    assert (found.texts, found.ids, found.model, found.fingerprint, found.dimension) == (None, None, None, None, 3)
    np.save(tmp_path / "v.npy", _with(1, np.nan))
    with pytest.raises(FileReadError, match="row 1"):
        load_vectors(tmp_path / "v.npy")


def test_mapped(tmp_path: Path) -> None:
    found = load_vectors(save_vectors(tmp_path / "v", ROWS), mmap=True)
    assert isinstance(found.vectors, np.memmap)
    assert not found.vectors.flags.writeable
    np.testing.assert_array_equal(found.vectors, ROWS)
    np.save(tmp_path / "w.npy", ROWS.astype(np.float64))
    with pytest.raises(FileReadError, match="mmap=False"):
        load_vectors(tmp_path / "w.npy", mmap=True)


def test_files_of_two_runs_do_not_mix(tmp_path: Path) -> None:
    save_vectors(tmp_path / "a", ROWS, texts=TEXTS)
    save_vectors(tmp_path / "b", ROWS + 1, texts=TEXTS)
    save_vectors(tmp_path / "c", ROWS[:4], texts=TEXTS[:4])
    save_vectors(tmp_path / "d", ROWS[:, :2], texts=TEXTS)
    description = tmp_path / "a.json"
    for other, part in (("b", "SHA-256"), ("c", "count"), ("d", "dimension")):
        description.write_bytes((tmp_path / f"{other}.json").read_bytes())
        for mmap in (False, True):
            with pytest.raises(FileReadError, match=part) as caught:
                load_vectors(tmp_path / "a", mmap=mmap)
            assert "a.npy" in str(caught.value)
            assert "a.json" in str(caught.value)
