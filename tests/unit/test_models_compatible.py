"""Servers that speak OpenAI's language: where they are found again, what they are asked for, what they refuse."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import textkin
from textkin.cli.main import main
from textkin.errors import (
    CredentialsError,
    InputError,
    ModelError,
    ModelMismatchError,
    ModelNotFoundError,
    ProviderError,
)
from textkin.jobs.bulk.collection import embed_to_store
from textkin.jobs.bulk.report import BulkOptions
from textkin.jobs.copying import copy_collection
from textkin.models.hashing import HashingModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.models.providers.servers import address, on_this_machine
from textkin.models.spending import Spend
from textkin.testing import Asked, ProviderServer

KEY = "sk-canary-0123456789abcdef"
QUICK = Patience(tries=6, first_wait=0.001, in_flight=4)
TEXTS = [f"text number {n}" for n in range(300)]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def serving(faults: Any = None, **settings: Any) -> Iterator[ProviderServer]:
    settings = {"models": {"own": 24}, "key": None, "retry_after": 0.001} | settings
    with ProviderServer(faults, **settings) as server:
        yield server


def run(*words: str) -> Any:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result


def test_a_collection_finds_a_server_on_this_machine_again(tmp_path: Path) -> None:
    place = tmp_path / "a.kin"
    with serving() as server:
        with textkin.Collection(place, model="openai:own", base_url=server.openai_url) as notes:
            notes.add(["a cat", "a dog"])
            assert notes.info().model is not None
            assert notes.info().model.details["server"] == server.openai_url
        with textkin.Collection(place) as notes:
            assert notes.search("a cat")[0].text == "a cat"


def test_the_command_line_finds_it_again_too(tmp_path: Path) -> None:
    place, file = str(tmp_path / "a.kin"), tmp_path / "texts.jsonl"
    file.write_text('{"id": "a", "text": "a cat"}\n{"id": "b", "text": "a dog"}\n{"id": "c", "text": "a dog"}\n')
    with serving() as server:
        at = ("--base-url", server.openai_url)
        run("index", str(file), "--to", place, "--model", "openai:own", *at)
        run("add", place, "a cow", *at)
        found = run("search", place, "a cat", "-k", "1", "--json")
        assert json.loads(found.stdout)[0]["text"] == "a cat"
        run("search", place, "a cat", *at)
        run("similar", place, "--text", "a cat", *at)
        run("embed", str(file), "-o", str(tmp_path / "v.npy"), "--model", "openai:own", *at)
        run("duplicates", str(file), "--model", "openai:own", "--threshold", "0.9", *at)
    assert np.load(tmp_path / "v.npy").shape == (3, 24)


def test_a_collection_sends_nothing_to_a_server_that_the_user_did_not_name(tmp_path: Path) -> None:
    place = tmp_path / "a.kin"
    with serving() as server:
        elsewhere = server.openai_url.replace("127.0.0.1", "0.0.0.0")  # not an address of this machine's own
        with textkin.Collection(place, model="openai:own", base_url=elsewhere) as notes:
            notes.add(["a cat"])
        asked = server.billing.requests
        with (
            textkin.Collection(place) as notes,
            pytest.raises(InputError, match=f"--base-url {elsewhere}"),
        ):
            notes.search("a cat")
        assert server.billing.requests == asked
        with textkin.Collection(place, base_url=elsewhere) as notes:
            assert len(notes.search("a cat")) == 1


def test_the_first_request_is_tried_again_and_counted_once() -> None:
    with serving(["429", "reset", None]) as server, Spend().counting() as spend:
        model = textkin.load_model("openai:own", base_url=server.openai_url)
        assert model.dimensions == 24
        assert spend.spent().tokens == server.billing.tokens
    with serving(["500"] * 10) as server, pytest.raises(ProviderError, match="3 times in a row"):
        OpenAIModel("own", base_url=server.openai_url, patience=QUICK)


def test_the_same_model_at_another_address_is_the_same(tmp_path: Path) -> None:
    place = tmp_path / "a.kin"
    with serving() as first, textkin.Collection(place, model="openai:own", base_url=first.openai_url) as notes:
        notes.add(["a cat", "a dog"])
    with serving() as second:
        for _ in range(2):
            with textkin.Collection(place, base_url=second.openai_url) as notes:
                assert notes.search("a cat")[0].text == "a cat"
                notes.add(["a cow"])
        assert second.billing.times("a cat") == 1  # as a query: the record was not embedded again
        assert second.billing.times("a dog") == 0
        with textkin.Collection(place, model="openai:own", base_url=second.openai_url) as notes:
            assert len(notes) == 3


def test_another_model_at_another_address_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.kin"
    with serving() as first, textkin.Collection(place, model="openai:own", base_url=first.openai_url) as notes:
        notes.add(["a cat", "a dog"])
    with (
        serving(models={"own": 25}) as second,
        textkin.Collection(place, base_url=second.openai_url) as notes,
        pytest.raises(ModelMismatchError, match="25 dimensions"),
    ):
        notes.search("a cat")


def test_another_model_behind_the_same_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.kin"
    with serving() as server:
        with textkin.Collection(place, model="openai:own", base_url=server.openai_url) as notes:
            notes.add(["a cat", "a dog"])
        honest = textkin.testing.contracts.vectors_of

        def turned(request: Any) -> Any:
            return np.ascontiguousarray(honest(request)[:, ::-1])

        monkeypatch.setattr(textkin.testing.contracts, "vectors_of", turned)
        with (
            textkin.Collection(place) as notes,
            pytest.raises(ModelMismatchError, match="another model runs there"),
        ):
            notes.search("a cat")


def test_a_bulk_job_and_a_merge_refuse_another_model_behind_the_same_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, place, other = tmp_path / "texts.csv", tmp_path / "a.kin", tmp_path / "b.kin"
    source.write_text("text\na bird\n", encoding="utf-8")
    options = BulkOptions(ledger=False)
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        with textkin.Collection(place, model="openai:own", ledger=False) as notes:
            notes.add(["a cat", "a dog"])
            before = notes._store.header
        honest = textkin.testing.contracts.vectors_of
        monkeypatch.setattr(
            textkin.testing.contracts, "vectors_of", lambda asked: np.ascontiguousarray(honest(asked)[:, ::-1])
        )
        with pytest.raises(ModelMismatchError, match="another model runs there"):
            embed_to_store([source], place, "openai:own", options)
        embed_to_store([source], other, "openai:own", options)
    with textkin.Collection(place) as notes:
        after = notes._store.header
        assert before is not None
        assert after is not None
        assert np.array_equal(before.canaries, after.canaries)
    with pytest.raises(ModelMismatchError, match=r"b\.kin.*other vectors.*a new place"):
        copy_collection(place, other, merge=True)
    assert copy_collection(place, tmp_path / "c.kin").copied == 2
    assert copy_collection(place, tmp_path / "c.kin", merge=True).unchanged == 2


def test_the_ledger_never_mixes_two_models_behind_one_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a cat\n\na dog\n")
    with serving() as server:
        embed = ("embed", str(texts), "--model", "openai:own", "--base-url", server.openai_url, "-o")
        run(*embed, str(tmp_path / "first.npy"))
        honest = textkin.testing.contracts.vectors_of
        monkeypatch.setattr(
            textkin.testing.contracts, "vectors_of", lambda asked: np.ascontiguousarray(honest(asked)[:, ::-1])
        )
        refused = CliRunner().invoke(main, [*embed, str(tmp_path / "second.npy")])
        assert refused.exit_code == 7
        cure = str(refused.exception or "") + refused.output
        assert "another model runs there" in cure
        run("ledger", "prune", "--model", "openai:own")
        run(*embed, str(tmp_path / "second.npy"))
    first, second = (textkin.load_vectors(tmp_path / f"{name}.npy").vectors for name in ("first", "second"))
    assert np.allclose(first[:, ::-1], second, atol=1e-6)


def test_an_address_with_a_password_is_not_remembered(tmp_path: Path) -> None:
    with serving() as server:
        secret = server.openai_url.replace("http://", "http://user:hunter2@") + "?token=hunter3"
        with textkin.Collection(tmp_path / "a.kin", model="openai:own", base_url=server.openai_url) as notes:
            notes.add(["a cat"])
        model = textkin.load_model("openai:own", base_url=secret.partition("?")[0])
        assert model.info.details["server"] == server.openai_url
    assert address(secret) == server.openai_url
    for wrong in ("127.0.0.1:80/v1", "ftp://host/v1", "http://", "http://[bad", "http://host:port"):
        with pytest.raises(InputError, match="address"):
            address(wrong)
    assert [on_this_machine(f"http://{host}/v1") for host in ("localhost:1", "127.3.2.1", "[::1]:8")] == [True] * 3
    assert not any(
        on_this_machine(f"http://{host}/v1") for host in ("0.0.0.0", "localhost.evil.example", "10.0.0.1")
    )


def test_base_url_goes_with_openai_only() -> None:
    for model in ("hashing", "cohere:embed-v4.0", "all-MiniLM-L6-v2", HashingModel()):
        with pytest.raises(InputError, match="base_url goes with openai:MODEL"):
            textkin.load_model(model, base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize("most", [1, 10, 32, 100])
def test_a_smaller_limit_of_texts_is_learned(most: int) -> None:
    texts = [f"text number {n}" for n in range(900)]
    with serving(most_texts=most) as server:
        model = OpenAIModel("own", base_url=server.openai_url, patience=QUICK)
        answer = model.embed(texts)
        first = len(server.billing.sizes)
        again = model.embed(texts[:500])
        refused = sum(size > most for size in server.billing.sizes)
        assert not any(size > most for size in server.billing.sizes[first:])  # learned: not one refusal more
        assert server.billing.times("text number 899") == 1
    assert answer.stopped is None
    assert not answer.failed
    assert np.allclose(answer.vectors, HashingModel(24).embed(texts).vectors, atol=1e-6)
    assert np.allclose(again.vectors, answer.vectors[:500], atol=1e-6)
    assert refused <= 4 * 9  # each of four threads halves its way down once at most


def test_bad_texts_among_too_many_are_still_named(tmp_path: Path) -> None:
    with serving(most_texts=16, refuse=lambda text: text.endswith("7 bad")) as server:
        model = OpenAIModel("own", base_url=server.openai_url, patience=QUICK)
        texts = [f"{n} bad" for n in range(200)]
        answer = model.embed(texts)
        assert all(server.billing.times(text) == (not text.endswith("7 bad")) for text in texts)
    assert sorted(answer.failed) == list(range(7, 200, 10))


def test_batch_says_the_limit_beforehand(tmp_path: Path) -> None:
    with serving(most_texts=32) as server:
        model = textkin.load_model("openai:own?batch=32&dimensions=12", base_url=server.openai_url)
        assert model.info.name == "openai:own?dimensions=12&batch=32"
        assert model.encode(TEXTS).shape == (300, 12)
        assert max(server.billing.sizes) == 32
        plain = textkin.load_model("openai:own?dimensions=12", base_url=server.openai_url)
        assert plain.info.fingerprint == model.info.fingerprint
    for wrong in (
        "openai:own?batch=0",
        "openai:own?batch=x",
        "openai:own?batch",
        "openai:own?model=a",
        "azure:a?x=1",
    ):
        with pytest.raises(InputError, match="expected"):
            textkin.load_model(wrong)


def test_a_text_that_makes_the_server_fail_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    def fault(asked: Asked) -> str | None:  # llama.cpp answers a text over its batch size with HTTP 500
        return "500" if any(len(text) > 2000 for text in asked.texts) else None

    with serving(fault) as server:
        model = OpenAIModel("own", base_url=server.openai_url, patience=QUICK)
        with textkin.Collection(tmp_path / "a.kin", model=model) as notes:
            report = notes.add([*TEXTS[:50], "long " * 500, *TEXTS[50:]], ids=[f"id{n}" for n in range(301)])
            assert list(report.failed) == ["id50"]
            assert "HTTP 500" in report.failed["id50"]
            assert len(notes) == 300
        assert {server.billing.times(text) for text in TEXTS} == {1}


def test_a_server_that_fails_at_everything_ends_the_work_and_names_no_text() -> None:
    broken = [False]
    with serving(lambda asked: "500" if broken[0] else None) as server:
        model = OpenAIModel("own", base_url=server.openai_url, patience=QUICK)
        broken[0] = True
        answer = model.embed(TEXTS)
    assert isinstance(answer.stopped, ProviderError)
    assert not answer.failed
    assert len(answer.unanswered) == len(TEXTS)


def test_a_vector_of_zeros_for_one_text_costs_only_that_text() -> None:
    def fault(asked: Asked) -> str | None:
        return "zero" if asked.texts[0] == TEXTS[0] and len(asked.texts) < 300 else None

    with serving(fault) as server:
        answer = OpenAIModel("own", base_url=server.openai_url, patience=QUICK).embed(TEXTS)
    assert list(answer.failed) == [0]
    assert answer.vectors[1:].any(axis=1).all()


def test_a_server_that_knows_only_base64_is_asked_so() -> None:
    with serving(encodings=("base64",)) as server:
        model = textkin.load_model("openai:own", base_url=server.openai_url)
        assert np.allclose(model.encode(TEXTS), HashingModel(24).embed(TEXTS).vectors, atol=1e-6)
    with serving(encodings=("float",)) as server:
        model = textkin.load_model("openai:own", base_url=server.openai_url)
        assert np.allclose(model.encode(TEXTS), HashingModel(24).embed(TEXTS).vectors, atol=1e-6)


def test_dimensions_that_a_server_ignores_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = textkin.testing.contracts.openai_request

    def ignoring(body: Any, texts: Any, rules: Any) -> Any:
        return honest({**body, "dimensions": None}, texts, rules)

    monkeypatch.setattr(textkin.testing.contracts, "openai_request", ignoring)
    with serving() as server, pytest.raises(ModelError, match="asked for 12 dimensions and answered with 24"):
        textkin.load_model("openai:own?dimensions=12", base_url=server.openai_url)


def test_azure_by_the_name_of_a_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deployments = {"mine": "text-embedding-3-small", "unknown": "own"}
    with serving(key=KEY, deployments=deployments) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("OPENAI_API_KEY")
        model = textkin.load_model("azure:mine?model=text-embedding-3-small&dimensions=512")
        assert model.info.name == "azure:mine?model=text-embedding-3-small&dimensions=512"
        assert model.info.max_tokens == 8192
        assert np.allclose(model.encode(TEXTS), HashingModel(512).embed(TEXTS).vectors, atol=1e-6)
        assert textkin.load_model("azure:unknown").encode("a").shape == (24,)  # asked for its dimensions
        with textkin.Collection(tmp_path / "a.kin", model="azure:mine?model=text-embedding-3-small") as notes:
            notes.add(["a cat", "a dog"])
        with textkin.Collection(tmp_path / "a.kin") as notes:
            assert notes.search("a cat")[0].text == "a cat"
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with textkin.Collection(tmp_path / "a.kin", model="openai:text-embedding-3-small") as notes:
            notes.add(["a cow"])  # the same vectors, from OpenAI itself
        with pytest.raises(ModelNotFoundError, match="azure:gone"):
            textkin.load_model("azure:gone")
        with pytest.raises(InputError, match="OpenAI has no model 'x'"):
            textkin.load_model("azure:mine?model=x")
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-wrong-key")
        with pytest.raises(CredentialsError, match="AZURE_OPENAI_API_KEY was refused") as caught:
            textkin.load_model("azure:mine?model=text-embedding-3-small").encode("a")
        assert "sk-wrong-key" not in str(caught.value)
        monkeypatch.delenv("AZURE_OPENAI_API_KEY")
        with pytest.raises(CredentialsError, match="AZURE_OPENAI_API_KEY is not set"):
            textkin.load_model("azure:mine")
        monkeypatch.delenv("OPENAI_API_VERSION")
        with pytest.raises(InputError, match="OPENAI_API_VERSION"):
            textkin.load_model("azure:mine")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_nobody_there_is_said_soon_and_with_the_address(tmp_path: Path) -> None:
    with serving() as server:
        gone = server.openai_url
        with textkin.Collection(tmp_path / "a.kin", model="openai:own", base_url=gone) as notes:
            notes.add(["a cat"])
            model = notes._model.get()
    patient = Patience(tries=50, first_wait=0.001)
    for refused in (
        lambda: OpenAIModel("own", base_url=gone, patience=patient),
        lambda: raised(model.embed(["x"])),
    ):
        with pytest.raises(ProviderError, match=rf"3 times.*nobody answers at {gone}"):
            refused()


def raised(answer: Any) -> None:
    assert answer.stopped is not None
    raise answer.stopped


def test_a_hosted_model_without_its_provider_is_named_in_full() -> None:
    with pytest.raises(ModelNotFoundError, match="name it openai:text-embedding-3-small"):
        textkin.load_model("text-embedding-3-small")
