"""The test server by itself, spoken to with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from textkin.errors import InputError
from textkin.testing import FAULTS, ProviderServer
from textkin.testing.faults import LOST

OPENAI = {"model": "text-embedding-3-small", "dimensions": 64}
COHERE = {"model": "embed-v4.0", "input_type": "search_document", "output_dimension": 256}


def post(server: ProviderServer, path: str, body: Any, key: str = "test-key") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def openai(server: ProviderServer, texts: Any, **more: Any) -> tuple[int, Any]:
    return post(server, "/v1/embeddings", {**OPENAI, "input": texts, **more})


def azure(server: ProviderServer, deployment: str, version: str, key: str = "test-key") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        path = f"/openai/deployments/{deployment}/embeddings{version}"
        connection.request("POST", path, json.dumps({"input": ["a"]}), {"api-key": key})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def cohere(server: ProviderServer, texts: Any, **more: Any) -> tuple[int, Any]:
    return post(server, "/v2/embed", {**COHERE, "texts": texts, **more})


def test_vectors_rank_and_do_not_depend_on_the_request() -> None:
    with ProviderServer() as server:
        _, first = openai(server, ["how to cook rice", "cooking rice at home", "tax law of 1984"])
        _, second = openai(server, "how to cook rice")
        _, query = cohere(server, ["how to cook rice"], input_type="search_query")
        _, document = cohere(server, ["how to cook rice"])
    rows = np.array([item["embedding"] for item in first["data"]])
    assert second["data"][0]["embedding"] == first["data"][0]["embedding"]
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert query["embeddings"] == document["embeddings"]
    assert np.shape(document["embeddings"]["float"]) == (1, 256)


def test_billing_shows_what_is_paid_twice() -> None:
    with ProviderServer(["short"]) as server:
        openai(server, ["a b", "c"])
        openai(server, ["a b", "c"])
        assert (server.billing.tokens, server.billing.spoilt_tokens, server.billing.paid_twice) == (3, 3, 0)
        openai(server, ["c"])
        cohere(server, ["c"])
        cohere(server, ["c"], input_type="search_query")
    assert server.billing.paid_twice == 1
    assert server.billing.times("c") == 4
    assert server.billing.times("never") == 0
    assert server.billing.sizes == [2, 2, 1, 1, 1]
    assert server.billing.requests == 5


@pytest.mark.parametrize(
    ("texts", "more", "status"),
    [
        (["a"] * 2048, {}, 200),
        (["a"] * 2049, {}, 400),
        (["a " * 8192], {}, 200),
        (["a " * 8193], {}, 400),
        (["a " * 8000] * 37, {}, 200),
        (["a " * 8000] * 38, {}, 400),
        (["a", ""], {}, 400),
        ([], {}, 400),
        ([[1, 2], [3]], {}, 200),
        (["a"], {"dimensions": 1537}, 400),
        (["a"], {"model": "text-embedding-ada-002"}, 400),
        (["a"], {"encoding_format": "int8"}, 400),
        (["a"], {"model": "nothing"}, 404),
    ],
)
def test_openai_limits(texts: Any, more: dict[str, Any], status: int) -> None:
    with ProviderServer() as server:
        assert openai(server, texts, **more)[0] == status


@pytest.mark.parametrize(
    ("texts", "more", "status"),
    [
        (["a"] * 96, {}, 200),
        (["a"] * 97, {}, 400),
        (["a", ""], {}, 400),
        (["a"], {"input_type": None}, 400),
        (["a"], {"output_dimension": 100}, 400),
        (["a"], {"embedding_types": ["int8"]}, 400),
        (["a " * 600], {"truncate": "NONE"}, 200),
        (["a " * 600], {"truncate": "NONE", "model": "embed-english-v3.0", "output_dimension": None}, 400),
        (["a " * 600], {"model": "embed-english-v3.0", "output_dimension": None}, 200),
        (["a"], {"model": "nothing"}, 404),
    ],
)
def test_cohere_limits(texts: Any, more: dict[str, Any], status: int) -> None:
    with ProviderServer() as server:
        assert cohere(server, texts, **more)[0] == status


def test_keys_and_refused_texts() -> None:
    with ProviderServer(key="right", refuse=lambda text: "bad" in text) as server:
        assert post(server, "/v1/embeddings", {**OPENAI, "input": "a"}, "wrong")[0] == 401
        assert post(server, "/v2/embed", {**COHERE, "texts": ["a"]}, "wrong")[0] == 401
        assert post(server, "/v1/embeddings", {**OPENAI, "input": ["a", "bad"]}, "right")[0] == 400
        assert post(server, "/v1/other", {}, "right")[0] == 404
    assert not server.billing.texts


@pytest.mark.parametrize("ask", [openai, cohere])
@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_breaks_one_answer_and_bills_none(ask: Any, kind: str) -> None:
    with ProviderServer([kind], slow=0.01) as server:
        try:
            broken = ask(server, ["one", "two", "three"])
        except (OSError, http.client.HTTPException, ValueError):
            broken = None
        good = ask(server, ["one", "two", "three"])
    assert good[0] == 200
    if kind in LOST or kind == "502":
        assert broken is None
    else:
        assert repr(broken) != repr(good)
    if kind == "reordered" and ask is openai:
        assert sorted(broken[1]["data"], key=lambda item: item["index"]) == good[1]["data"]
        assert server.billing.paid_twice == 3
    else:
        assert server.billing.paid_twice == 0


def test_shares_depend_on_the_seed_and_not_on_the_order() -> None:
    def fates(seed: int, names: list[str]) -> dict[str, int]:
        with ProviderServer({"429": 0.3, "500": 0.2}, seed=seed) as server:
            return {name: openai(server, [name])[0] for name in names}

    names = [f"text {n}" for n in range(200)]
    first = fates(1, names)
    assert first == fates(1, names[::-1])
    assert first != fates(2, names)
    assert 35 < list(first.values()).count(429) < 85
    assert 20 < list(first.values()).count(500) < 60


@pytest.mark.parametrize("faults", [{"nothing": 0.1}, {"429": 0.8, "500": 0.3}, {"429": -1}, ["nothing"]])
def test_faults_that_are_none_are_refused(faults: Any) -> None:
    with pytest.raises(InputError, match="fault"):
        ProviderServer(faults)


def test_no_sdk_is_loaded() -> None:
    code = "import sys, textkin.testing; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"openai", "cohere", "httpx", "requests"}.isdisjoint(loaded)


def test_azure_has_deployments_a_version_and_a_header_of_its_own() -> None:
    with ProviderServer(deployments={"mine": "text-embedding-ada-002"}) as server:
        status, answer = azure(server, "mine", "?api-version=2024-10-21")
        assert (status, len(answer["data"][0]["embedding"])) == (200, 1536)
        assert server.billing.times("a") == 1
        assert azure(server, "mine", "")[0] == 404
        assert azure(server, "other", "?api-version=2024-10-21")[1]["error"]["code"] == "DeploymentNotFound"
        assert azure(server, "mine", "?api-version=2024-10-21", key="wrong")[0] == 401
        assert server.environment["AZURE_OPENAI_ENDPOINT"] == server.url


def test_the_limits_of_a_compatible_server() -> None:
    with ProviderServer(most_texts=2, encodings=["base64"]) as server:
        assert openai(server, ["a", "b"], encoding_format="base64")[0] == 200
        assert openai(server, ["a", "b", "c"], encoding_format="base64")[0] == 413
        assert openai(server, ["a"])[0] == 400
