"""The canaries and the digest of facts."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.models.fingerprint import CANARIES, canary_vectors, fingerprint, same_vectors
from textkin.models.hashing import HashingModel


def test_facts_in_any_order_give_one_fingerprint() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert len(fingerprint({})) == 64


@pytest.mark.parametrize("changed", [{"a": 2, "b": "x"}, {"a": 1, "b": "y"}, {"a": 1}, {"a": "1", "b": "x"}])
def test_any_changed_fact_changes_the_fingerprint(changed: dict[str, object]) -> None:
    assert fingerprint(changed) != fingerprint({"a": 1, "b": "x"})


def test_the_canaries_never_change() -> None:
    # Collections keep the vectors of these texts: another text here would refuse every collection made before.
    import hashlib

    assert len(CANARIES) == 16
    digest = hashlib.sha256("\0".join(CANARIES).encode()).hexdigest()
    assert digest == "e7fd5c95f91c0a7b86c60fb61ff24bc2cb4c08ddcfef95756bfe090a3fa7b0db"


def test_one_canary_is_longer_than_any_limit() -> None:
    short, long = HashingModel(max_tokens=256), HashingModel(max_tokens=512)
    assert not same_vectors(canary_vectors(short), canary_vectors(long))


def test_a_little_noise_is_the_same_model_and_another_model_is_not() -> None:
    vectors = canary_vectors(HashingModel())
    noise = np.random.default_rng(1).normal(scale=1e-5, size=vectors.shape).astype(np.float32)
    assert same_vectors(vectors, vectors + noise)
    rotated = np.roll(vectors, 1, axis=1)
    assert not same_vectors(vectors, rotated)
    assert not same_vectors(vectors, vectors[:, :128])


def test_models_that_give_an_empty_text_a_zero_row_are_known_again() -> None:
    vectors = canary_vectors(HashingModel())
    vectors[2] = 0.0
    assert same_vectors(vectors, vectors.copy())
    assert not same_vectors(vectors, canary_vectors(HashingModel()))
