"""encode, as people type it by habit."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import textkin
from textkin.errors import InputError
from textkin.models.embedding_model import TruncationWarning


@pytest.fixture
def model() -> textkin.EmbeddingModel:
    return textkin.load_model("hashing:64")


def test_one_text_gives_one_vector_and_many_give_a_matrix(model: textkin.EmbeddingModel) -> None:
    assert model.encode("a cat").shape == (64,)
    assert model.encode(["a cat", "a feline"]).shape == (2, 64)
    assert model.encode([]).shape == (0, 64)


def test_the_arguments_of_habit_are_taken(model: textkin.EmbeddingModel) -> None:
    plain = model.encode(["a", "b"])
    typed = model.encode(["a", "b"], batch_size=32, show_progress_bar=True, normalize_embeddings=True)
    np.testing.assert_array_equal(plain, typed)
    assert model.get_sentence_embedding_dimension() == 64


def test_what_can_not_be_kept_is_refused(model: textkin.EmbeddingModel) -> None:
    with pytest.raises(InputError, match="normalize_embeddings=False"):
        model.encode(["a"], normalize_embeddings=False)
    with pytest.raises(InputError, match="from_numpy"):
        model.encode(["a"], convert_to_numpy=False)
    with pytest.raises(InputError, match="batch_size"):
        model.encode(["a"], batch_size=0)
    with pytest.raises(InputError, match="text number 1 is a NoneType"):
        model.encode(["a", None])  # type: ignore[list-item]


def test_a_cut_text_is_warned_of_by_row(model: textkin.EmbeddingModel) -> None:
    with pytest.warns(TruncationWarning, match=r"1 of 2 texts are longer than the 512 tokens .* \(rows 1\)"):
        model.encode(["short", "word " * 600])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(["short"])


def test_hashing_takes_its_dimensions_from_its_name() -> None:
    assert textkin.load_model("hashing").dimensions == 256
    for wrong in ("hashing:0", "hashing:x", "hashing:-3"):
        with pytest.raises(InputError, match="hashing:DIMENSIONS"):
            textkin.load_model(wrong)


TINY = Path(__file__).parents[1] / "golden" / "tiny"


def test_a_folder_is_named_absolutely_so_that_it_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sorted(path.parent for path in TINY.glob("*/config.json"))[0]
    monkeypatch.chdir(TINY)
    by_path = textkin.load_model(folder.relative_to(TINY))
    by_name = textkin.load_model(f"./{folder.name}")
    assert by_path.info.name == by_name.info.name == str(folder)
    assert by_path.info.fingerprint == by_name.info.fingerprint


def test_normalize_embeddings_false_is_kept_where_the_model_gives_unit_rows() -> None:
    unit = textkin.load_model(TINY / "bert_mean")
    np.testing.assert_array_equal(unit.encode("a", normalize_embeddings=False), unit.encode("a"))
    with pytest.raises(InputError, match="normalize_embeddings=False"):
        textkin.load_model(TINY / "bert_cls").encode("a", normalize_embeddings=False)
