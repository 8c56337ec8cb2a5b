"""Vectors equal sentence-transformers' own, text by text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import golden_texts
import numpy as np
import pytest

from textkin.models.local import LocalModel
from textkin.types import Matrix, Role

HERE = Path(__file__).parent
TINY = sorted(folder.name for folder in (HERE / "tiny").iterdir() if folder.is_dir())


def cosines(ours: Matrix, theirs: Matrix) -> Matrix:
    """Row by row; two zero rows are equal."""
    found = np.einsum("ij,ij->i", ours, theirs)
    found[~ours.any(axis=1) & ~theirs.any(axis=1)] = 1.0
    return found


@pytest.mark.parametrize("role", ["document", "query"])
@pytest.mark.parametrize("name", TINY)
def test_a_tiny_model_of_each_shape(name: str, role: Role) -> None:
    texts = golden_texts.tiny_texts()
    with np.load(HERE / "tiny" / name / "golden.npz") as golden:
        wanted = golden[role]
    found = LocalModel(HERE / "tiny" / name, name).embed(texts, role).vectors
    assert found.shape == wanted.shape
    close = cosines(found, wanted)
    assert close.min() >= 0.99999, [texts[row] for row in np.flatnonzero(close < 0.99999)]


def test_there_is_a_tiny_model_of_every_family() -> None:
    kinds = {str(LocalModel(HERE / "tiny" / name, name).info.details["encoder"]) for name in TINY}
    assert kinds == {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "electra", "albert"}


@pytest.mark.parametrize("name", TINY)
def test_eight_bits_stay_near(name: str) -> None:
    texts = golden_texts.tiny_texts()
    folder = HERE / "tiny" / name
    exact = LocalModel(folder, name).embed(texts).vectors
    rounded = LocalModel(folder, name, precision="int8").embed(texts).vectors
    # Random weights amplify rounding; trained ones lose far less.
    assert np.median(cosines(exact, rounded)) > 0.99


def test_the_generated_texts_are_as_many_and_as_varied_as_claimed() -> None:
    texts = golden_texts.texts()
    assert len(set(texts)) == 2000
    assert "" in texts
    assert max(len(text) for text in texts) == 100_000
    assert max(len(text.split()) for text in texts) == 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "all-mpnet-base-v2"])
def test_two_thousand_texts_with_published_weights(name: str, model_folder: Callable[[str], Path]) -> None:
    texts = golden_texts.texts()
    with np.load(HERE / f"{name}.npz") as golden:
        wanted = golden["document"].astype(np.float32)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = LocalModel(model_folder(name), name).embed(texts).vectors
    close = cosines(found, wanted)
    assert len(close) == 2000
    assert close.min() >= 0.9999, [texts[row][:60] for row in np.flatnonzero(close < 0.9999)]
