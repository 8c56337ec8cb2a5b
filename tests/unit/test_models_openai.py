"""OpenAI's models through the official SDK, against a local server that keeps or breaks the contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.errors import (
    CredentialsError,
    InputError,
    ModelMismatchError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    TextkinError,
)
from textkin.ledger import Ledger
from textkin.models.hashing import HashingModel
from textkin.models.providers.cohere import CohereModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.testing import Asked, ProviderServer
from textkin.testing.faults import LOST, SPOILT

KEY = "sk-canary-0123456789abcdef"
QUICK = Patience(tries=12, first_wait=0.001, in_flight=4, least=2048)
TEXTS = [f"text number {n}" for n in range(300)]


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, faults: Any = None, **settings: Any) -> Iterator[ProviderServer]:
    with ProviderServer(faults, key=KEY, models={"own": 24}, retry_after=0.001, slow=0.01, **settings) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize("name", ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"])
def test_vectors_come_in_order_whole_and_unit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with serving(monkeypatch):
        model = textkin.load_model(f"openai:{name}")
        vectors = model.encode(TEXTS[:50])
    assert model.info.name == f"openai:{name}"
    assert np.allclose(vectors, HashingModel(model.dimensions).embed(TEXTS[:50]).vectors, atol=1e-6)
    assert vectors.dtype == np.float32


def test_fewer_dimensions_are_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch):
        short = textkin.load_model("openai:text-embedding-3-small?dimensions=512")
        assert short.encode("a cat").shape == (512,)
        assert short.info.fingerprint != textkin.load_model("openai:text-embedding-3-small").info.fingerprint
        with textkin.Collection(tmp_path / "a.kin", model="openai:text-embedding-3-small?dimensions=512") as notes:
            notes.add(["a cat", "a dog"])
        with textkin.Collection(tmp_path / "a.kin") as notes:  # the name alone is enough to open it again
            assert notes.search("a cat")[0].text == "a cat"
        with pytest.raises(ModelMismatchError):
            textkin.Collection(tmp_path / "a.kin", model="openai:text-embedding-3-small")
        with pytest.raises(InputError, match="dimensions"):
            textkin.load_model("openai:text-embedding-3-small?dimensions=5000")
        with pytest.raises(InputError, match="always gives 1536"):
            textkin.load_model("openai:text-embedding-ada-002?dimensions=5")
        with pytest.raises(InputError, match="expected openai:MODEL"):
            textkin.load_model("openai:text-embedding-3-small?size=5")


def test_another_server_says_its_own_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch):
        model = textkin.load_model("openai:own")
        assert model.encode(["a", "b"]).shape == (2, 24)


def test_requests_keep_the_documented_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server:
        answer = OpenAIModel("text-embedding-3-small", dimensions=4, patience=QUICK).embed(
            [f"{n}" for n in range(5000)]
        )
    assert sorted(server.billing.sizes) == [904, 2048, 2048]
    assert answer.stopped is None
    assert np.all(answer.vectors.any(axis=1))


@pytest.mark.parametrize("kind", ["429", "500", "502", "503", *LOST, *SPOILT])
def test_what_passes_is_tried_again_and_never_stored(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with serving(monkeypatch, lambda asked: kind if asked.number % 2 else None) as server:
        model = OpenAIModel("text-embedding-3-small", dimensions=8, patience=QUICK)
        answer = model.embed(TEXTS)
        assert server.billing.requests == (1 if kind == "reordered" else 2)
        assert server.billing.paid_twice == 0
    assert answer.stopped is None
    assert not answer.failed
    assert np.allclose(answer.vectors, HashingModel(8).embed(TEXTS).vectors, atol=1e-6)


def test_a_reordered_answer_is_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, {"reordered": 1.0}):
        answer = OpenAIModel("text-embedding-3-small", dimensions=8, patience=QUICK).embed(TEXTS)
    assert np.allclose(answer.vectors, HashingModel(8).embed(TEXTS).vectors, atol=1e-6)


def test_an_answer_that_stays_wrong_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, {"zero": 1.0}):
        answer = OpenAIModel("text-embedding-3-small", dimensions=8, patience=Patience(3, 0.001)).embed(TEXTS)
    assert isinstance(answer.stopped, ProviderError)
    assert not answer.vectors.any()
    assert answer.unanswered == tuple(range(len(TEXTS)))


def test_bad_texts_are_named_and_set_aside_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        serving(monkeypatch, refuse=lambda text: "forbidden" in text) as server,
        textkin.Collection(tmp_path / "a.kin", model="openai:own") as notes,
    ):
        ids = [f"id{n}" for n in range(40)]
        texts = [f"forbidden {n}" if n in (3, 17) else f"good {n}" for n in range(40)]
        report = notes.add(texts, ids=ids)
        assert set(report.failed) == {"id3", "id17"}
        assert "content_policy_violation" in report.failed["id3"]
        assert report.added == len(notes) == 38
        assert notes.similar("id4")[0].id != "id3"
        assert [server.billing.times(text) for text in texts] == [int(n not in (3, 17)) for n in range(40)]
        with pytest.raises(InputError, match="the query 'forbidden' can't be embedded"):
            notes.search("forbidden")
        with pytest.raises(InputError, match="text number 1"):
            textkin.load_model("openai:own").encode(["good", "forbidden"])


def test_empty_and_over_long_texts_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server:
        answer = OpenAIModel("text-embedding-3-small", dimensions=8).embed(["a", "", "word " * 9000, "b"])
    assert set(answer.failed) == {1, 2}
    assert "empty" in answer.failed[1]
    assert "8192" in answer.failed[2]
    assert server.billing.times("a") == server.billing.times("b") == sum(server.billing.texts.values()) / 2 == 1
    assert answer.vectors[[0, 3]].any(axis=1).all()


@pytest.mark.parametrize(
    ("kind", "expected"), [("quota", QuotaError), ("403", CredentialsError), ("404", ModelNotFoundError)]
)
def test_what_can_not_pass_stops_and_what_was_answered_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, expected: type[TextkinError]
) -> None:
    closed = [True]

    def fault(asked: Asked) -> str | None:
        return kind if closed[0] and len(server.billing.texts) > 100 else None

    with serving(monkeypatch, fault) as server, Ledger(tmp_path / "ledger.db") as ledger:
        for turn in range(2):
            closed[0] = turn == 0
            with textkin.Collection(tmp_path / "a.kin", model="openai:own", ledger=ledger) as notes:
                if turn == 0:
                    with pytest.raises(expected) as caught:
                        notes.add(TEXTS)
                    assert KEY not in str(caught.value)
                else:
                    assert notes.add(TEXTS).failed == {}
                    assert len(notes) == len(TEXTS)
        assert {server.billing.times(text) for text in TEXTS} == {1}


def test_a_wrong_or_missing_key_is_said_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
        model = textkin.load_model("openai:text-embedding-3-small")
        with pytest.raises(CredentialsError) as caught:
            model.encode("a")
        assert "sk-wrong-key" not in f"{caught.value}{model!r}{caught.value.__cause__}"
        assert KEY not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(CredentialsError, match="OPENAI_API_KEY is not set"):
        textkin.load_model("openai:text-embedding-3-small")


def test_the_key_is_in_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (
        serving(monkeypatch),
        Ledger(tmp_path / "ledger.db") as ledger,
        textkin.Collection(tmp_path / "a.kin", model="openai:own", ledger=ledger) as notes,
    ):
        notes.add(TEXTS[:20])
        notes.search("text")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_rate_headers_are_kept_so_that_hardly_a_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    refused: list[int] = []
    patience = Patience(tries=3, first_wait=0.001, in_flight=4, least=1, most=10)
    with serving(monkeypatch, rate=(60 * 40, 5)) as server:
        if provider == "openai":
            answer = OpenAIModel("text-embedding-3-small", dimensions=8, patience=patience).embed(TEXTS)
        else:
            answer = CohereModel("embed-english-light-v3.0", patience=patience).embed(TEXTS)
        refused.append(server.billing.requests - len(TEXTS) // 10)
    assert answer.stopped is None
    assert answer.vectors.any(axis=1).all()
    # Those that are on their way when the last allowance is used up; without the headers it would be most.
    assert refused[0] <= 8


def test_a_payment_that_is_due_and_a_request_that_is_never_taken_end_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Answer(BaseHTTPRequestHandler):
        status = 402

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(self.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            model = OpenAIModel("text-embedding-3-small", patience=Patience(tries=50, first_wait=10))
            for status, error in ((402, QuotaError), (405, ProviderError), (451, ProviderError)):
                Answer.status = status
                assert type(model.embed(["x"]).stopped) is error
        finally:
            server.shutdown()
            thread.join()
