"""Is it the model that made another tool's vectors? Compared on a sample, told with figures."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from other_tools import WIDTH, Encoder, save_npy, texts
from textkin.errors import (
    ModelMismatchError,
)
from textkin.jobs.adopting import ForeignWarning
from textkin.models.hashing import HashingModel
from textkin.types import Embedded


def test_an_object_is_asked_for_the_sample_each_time(tmp_path: Path) -> None:
    words = texts(200)
    place = save_npy(tmp_path, Encoder().encode(words), words)
    first, second = Encoder(), Encoder()
    with textkin.Collection(place, model=first) as collection:
        told = collection.info().foreign
    assert told is not None
    assert (told.compared, told.cut, told.differing) == (32, 0, ())
    assert told.least > 0.999999
    with textkin.Collection(place, model=second):
        pass
    # The ledger knows the first one's vectors; only the second one itself can say whether its own are the same.
    assert len(set(first.seen) & set(words)) == len(set(second.seen) & set(words)) == 32


class Paid:
    """A model that is paid for by the text."""

    def __init__(self) -> None:
        self._inner = HashingModel()
        self.info = self._inner.info
        self.texts = 0

    def embed(self, texts: Sequence[str], *rest: Any) -> Embedded:
        self.texts += len(texts)
        return self._inner.embed(texts, *rest)

    def count_tokens(self, texts: Sequence[str], *rest: Any) -> list[int]:
        return self._inner.count_tokens(texts, *rest)


def test_a_paid_model_is_paid_once_canaries_included(tmp_path: Path) -> None:
    words = texts(60)
    place = save_npy(tmp_path, HashingModel().embed(words).vectors, words)
    first, second = Paid(), Paid()
    for model in (first, second):
        with textkin.Collection(place, model=model) as collection:
            assert collection.info().records == 60
    assert (first.texts, second.texts) == (32 + 16, 0)


def test_one_changed_text_is_named_and_two_are_refused(tmp_path: Path) -> None:
    words = texts(32)
    vectors = Encoder().encode(words)
    words[3] = "edited since, and not embedded again"
    place = save_npy(tmp_path, vectors, words)
    with pytest.warns(ForeignWarning, match=r"1 of 32 records .* differ .*'3' \(-?0\.\d+\)"):
        opened = textkin.Collection(place, model=Encoder())
    with opened as collection:
        told = collection.info().foreign
    assert told is not None
    assert len(told.differing) == 1
    words[4] = "this one too"
    save_npy(tmp_path, vectors, words)
    with pytest.raises(ModelMismatchError, match="2 have a cosine"):
        textkin.Collection(place, model=Encoder())


def test_with_few_records_each_must_agree(tmp_path: Path) -> None:
    words = texts(6)
    vectors = Encoder().encode(words)
    vectors[2] = -vectors[2]
    with pytest.raises(ModelMismatchError, match="of 6 texts"):
        textkin.Collection(save_npy(tmp_path, vectors, words), model=Encoder())


class Cutting(Encoder):
    """Reads five words of a text."""

    max_seq_length = 5

    def tokenizer(self, given: Sequence[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0] * len(text.split()) for text in given]}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return super().encode([" ".join(text.split()[:5]) for text in texts])


def test_long_texts_are_compared_as_the_model_cuts_them(tmp_path: Path) -> None:
    words = [text if number % 2 else "short " + str(number) for number, text in enumerate(texts(40))]
    with textkin.Collection(save_npy(tmp_path, Cutting().encode(words), words), model=Cutting()) as collection:
        told = collection.info().foreign
    assert told is not None
    assert 10 < told.cut < 25
    with pytest.raises(ModelMismatchError, match="All of these are longer than the 5 tokens"):
        textkin.Collection(save_npy(tmp_path, Encoder().encode(words), words), model=Cutting())


def test_vectors_near_the_models_hint_at_what_differs(tmp_path: Path) -> None:
    words = texts(40)
    noisy = Encoder().encode(words) + np.random.default_rng(0).normal(size=(40, WIDTH)) * 2
    with pytest.raises(ModelMismatchError, match="another version or precision"):
        textkin.Collection(save_npy(tmp_path, noisy, words), model=Encoder())


@pytest.mark.slow
def test_the_published_vectors_of_sentence_transformers_are_recognised(tmp_path: Path, real_cache: Path) -> None:
    golden = np.load(Path(__file__).parent.parent / "golden" / "all-MiniLM-L6-v2.npz")
    sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
    try:
        import golden_texts
    finally:
        sys.path.pop(0)
    every = golden_texts.texts()
    chosen = [row for row, text in enumerate(every) if text.isprintable() and text][:60]
    lines = [every[row] for row in chosen]
    place = save_npy(tmp_path, golden[golden.files[0]][chosen].astype(np.float32), lines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForeignWarning)
        with textkin.Collection(place, model="all-MiniLM-L6-v2") as collection:
            told = collection.info().foreign
    assert told is not None
    assert told.least > 0.9999
