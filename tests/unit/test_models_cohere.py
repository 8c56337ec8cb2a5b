"""Cohere's models through the official SDK, against textkin.testing's server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.errors import CredentialsError, InputError, ModelNotFoundError, ProviderError, QuotaError
from textkin.models.providers.cohere import CohereModel
from textkin.models.providers.requests import Patience
from textkin.testing import ProviderServer
from textkin.testing.billing import text_digest

KEY = "co-a-key-that-must-not-be-shown"
QUICK = Patience(tries=12, first_wait=0.001, in_flight=4)
TEXTS = [f"text number {n}" for n in range(300)]


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, faults: Any = None, **settings: Any) -> Iterator[ProviderServer]:
    with ProviderServer(faults, key=KEY, retry_after=0.001, slow=0.01, **settings) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize(
    ("name", "width"),
    [("embed-english-v3.0", 1024), ("embed-multilingual-v3.0", 1024), ("embed-v4.0", 1536),
     ("embed-v4.0?dimensions=256", 256)],
)  # fmt: skip
def test_vectors_come_in_order_and_by_role(monkeypatch: pytest.MonkeyPatch, name: str, width: int) -> None:
    with serving(monkeypatch) as server:
        model = textkin.load_model(f"cohere:{name}")
        vectors = model.encode(TEXTS)
        assert vectors.shape == (300, width)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert np.array_equal(vectors[7], model.encode(TEXTS[7]))
        assert sorted(server.billing.sizes) == [1, 44, 64, 64, 64, 64]  # several in flight, and the single one
        query = model.encode_query("text number 7")
        assert query.shape == (width,)
    assert model.info.role_sensitive
    assert model.info.name == f"cohere:{name}"


def test_a_collection_opens_again_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch):
        with textkin.Collection(tmp_path / "a.kin", model="cohere:embed-english-v3.0") as notes:
            notes.add(["a cat sat on the mat", "stocks fell on monday"])
        with textkin.Collection(tmp_path / "a.kin") as notes:
            assert notes.search("a cat on a mat")[0].text == "a cat sat on the mat"


@pytest.mark.parametrize(
    "kind", ["429", "500", "502", "503", "reset", "slow", "truncated", "short", "wrong-length", "reordered", "nan",
             "zero"],
)  # fmt: skip
def test_what_passes_is_tried_again_and_nothing_wrong_is_kept(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with serving(monkeypatch) as server:
        clean = CohereModel("embed-english-light-v3.0", patience=QUICK).embed(TEXTS).vectors
        assert not server.billing.paid_twice
    with serving(monkeypatch, {kind: 0.3}):
        found = CohereModel("embed-english-light-v3.0", patience=QUICK).embed(TEXTS)
    assert found.stopped is None
    assert not found.failed
    assert np.array_equal(found.vectors, clean)


def test_a_refused_text_is_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, refuse=lambda text: text == TEXTS[123]) as server:
        found = CohereModel("embed-english-light-v3.0", patience=QUICK).embed([*TEXTS, ""])
        assert set(found.failed) == {123, 300}
        assert "HTTP 400" in found.failed[123]
        assert not found.vectors[123].any()
        assert found.vectors[[n for n in range(300) if n != 123]].any(axis=1).all()
        assert server.billing.times(TEXTS[122]) == 1
    assert text_digest(TEXTS[0]) != text_digest(TEXTS[1])


@pytest.mark.parametrize(("kind", "error"), [("quota", QuotaError), ("401", CredentialsError)])
def test_what_can_not_be_mended_stops_at_once(
    monkeypatch: pytest.MonkeyPatch, kind: str, error: type[Exception]
) -> None:
    with serving(monkeypatch, [None, kind, kind, kind, kind, kind]):
        found = CohereModel("embed-english-light-v3.0", patience=Patience(tries=3, in_flight=1, least=96)).embed(
            TEXTS
        )
    assert isinstance(found.stopped, error)
    assert KEY not in str(found.stopped)
    assert len(found.unanswered) == 300 - 96
    assert found.vectors[:96].any(axis=1).all()


def test_a_dead_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("CO_API_URL", "http://127.0.0.1:9")
    model = CohereModel("embed-english-v3.0", patience=Patience(tries=2, first_wait=0.001))
    assert isinstance(model.embed(["x"]).stopped, ProviderError)
    assert KEY not in repr(model)


def test_wrong_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CO_API_KEY", raising=False)
    with pytest.raises(CredentialsError, match="CO_API_KEY"):
        textkin.load_model("cohere:embed-v4.0")
    with pytest.raises(ModelNotFoundError, match=r"embed-v4\.0"):
        textkin.load_model("cohere:embed-v9")
    with pytest.raises(InputError, match="256, 512, 1024, 1536"):
        textkin.load_model("cohere:embed-v4.0?dimensions=300")
    with pytest.raises(InputError, match="always 1024"):
        textkin.load_model("cohere:embed-english-v3.0?dimensions=256")


def test_a_request_holds_no_more_texts_than_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server:
        CohereModel("embed-english-light-v3.0", patience=Patience(least=2048)).embed(TEXTS)
        assert sorted(server.billing.sizes) == [12, 96, 96, 96]
