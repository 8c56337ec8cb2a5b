"""The two contracts: what each provider accepts, what it answers, and how it says no."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from textkin.models.hashing import HashingModel
from textkin.types import Matrix

OPENAI_MODELS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
COHERE_MODELS = {
    "embed-english-v3.0": 1024,
    "embed-multilingual-v3.0": 1024,
    "embed-english-light-v3.0": 384,
    "embed-multilingual-light-v3.0": 384,
    "embed-v4.0": 1536,
}
_V4_DIMENSIONS = (256, 512, 1024, 1536)
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering")
_EVERY_WORD = 10**9


class Refused(Exception):
    """A request that breaks the contract.

    Args:
        status: of HTTP.
        message: what is wrong.
        code: OpenAI's short word for it.
    """

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A request that keeps the contract.

    Attributes:
        model: the name that was asked for.
        texts: in order.
        width: dimensions of the answer.
        input_type: empty for OpenAI.
        base64: whether vectors are wanted as base64.
        tokens: that are charged.
    """

    model: str
    texts: tuple[str, ...]
    width: int
    input_type: str = ""
    base64: bool = False
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the server is set to.

    Attributes:
        models: further models of either provider, name to dimensions.
        count_tokens: tokens of one text.
        refuse: texts that are answered with HTTP 400.
        most_texts: of a request to OpenAI's path; more are answered with HTTP 413.
        encodings: of OpenAI's vectors that are known here.
    """

    models: Mapping[str, int]
    count_tokens: Callable[[str], int]
    refuse: Callable[[str], bool]
    most_texts: int = 2048
    encodings: tuple[str, ...] = ("float", "base64")


def openai_texts(body: Mapping[str, Any]) -> list[str]:
    """The inputs of a request; token numbers become words."""
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise Refused("'input' must be a string, or a list that is not empty")
    texts = [" ".join(map(str, part)) if isinstance(part, list) else part for part in given]
    if not all(isinstance(text, str) for text in texts):
        raise Refused("'input' must hold strings, or lists of token numbers")
    return texts


def openai_request(body: Mapping[str, Any], texts: list[str], rules: Rules) -> Request:
    """Check a request as OpenAI documents it.

    Raises:
        Refused: what it would refuse: another model, over 2,048 inputs, an empty one, one of over 8,192 tokens,
            over 300,000 tokens in all, dimensions that the model can't give.
    """
    model = body.get("model")
    full = {**OPENAI_MODELS, **rules.models}.get(str(model))
    if full is None:
        raise Refused(
            f"The model `{model}` does not exist or you do not have access to it.", 404, "model_not_found"
        )
    if len(texts) > rules.most_texts:
        status = 400 if rules.most_texts == 2048 else 413
        raise Refused(f"'input' must have at most {rules.most_texts} items, not {len(texts)}", status)
    counts = [rules.count_tokens(text) for text in texts]
    for number, (text, count) in enumerate(zip(texts, counts, strict=True)):
        if not text:
            raise Refused(f"'input[{number}]' must not be empty")
        if count > 8192:
            raise Refused(f"maximum context length is 8192 tokens, 'input[{number}]' has {count}")
    if sum(counts) > 300_000:
        raise Refused(f"at most 300000 tokens a request, not {sum(counts)}", code="max_tokens_per_request")
    width = body.get("dimensions")
    if width is not None and (model == "text-embedding-ada-002" or width not in range(1, full + 1)):
        raise Refused(f"{model} can't give {width} dimensions")
    encoding = body.get("encoding_format") or "float"
    if encoding not in rules.encodings:
        raise Refused(f"'encoding_format' must be {' or '.join(rules.encodings)}")
    if any(rules.refuse(text) for text in texts):
        raise Refused("an input was refused", code="content_policy_violation")
    return Request(str(model), tuple(texts), width or full, "", encoding == "base64", sum(counts))


def openai_answer(request: Request, vectors: Matrix) -> dict[str, Any]:
    """The answer that the contract promises."""
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(row.tolist(), request.base64)}
        for place, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": request.tokens, "total_tokens": request.tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def openai_refusal(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def spoilt_openai(answer: dict[str, Any], kind: str, encoded: bool) -> dict[str, Any]:
    """An answer that breaks the contract in the named way."""
    data = answer["data"]
    first = data[0]
    if kind == "short":
        data = data[:-1]
    elif kind == "long":
        data = [*data, {**first, "index": len(data)}]
    elif kind == "reordered":
        data = data[::-1]
    elif kind == "misnumbered":
        data = [{**item, "index": item["index"] + 1} for item in data]
    elif kind == "null":
        data = [{**first, "embedding": None}, *data[1:]]
    else:
        data = [{**first, "embedding": _spoilt(first["embedding"], kind, encoded)}, *data[1:]]
    return {**answer, "data": data}


def cohere_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts of a request."""
    texts = body.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Refused("invalid request: texts must be a list of strings that is not empty")
    return texts


def cohere_request(body: Mapping[str, Any], texts: list[str], rules: Rules) -> Request:
    """Check a request as Cohere documents it.

    Raises:
        Refused: what it would refuse: another model, over 96 texts, an empty one, no input type, one that is too
            long where ``truncate`` is ``NONE``, dimensions that the model can't give.
    """
    model = body.get("model")
    full = {**COHERE_MODELS, **rules.models}.get(str(model))
    if full is None:
        raise Refused(f"model '{model}' not found, make sure the correct model ID was used", 404)
    if len(texts) > 96:
        raise Refused(f"invalid request: total number of texts must be at most 96 - received {len(texts)}")
    if body.get("input_type") not in _INPUT_TYPES:
        raise Refused("invalid request: valid input_type must be provided with the provided model")
    width = body.get("output_dimension")
    if width is not None and (model != "embed-v4.0" or width not in _V4_DIMENSIONS):
        raise Refused(f"invalid request: {model} can't give output_dimension {width}")
    kinds = body.get("embedding_types") or ["float"]
    if kinds not in (["float"], ["base64"]):
        raise Refused("invalid request: this test server gives embedding_types float or base64, one at a time")
    truncate = body.get("truncate") or "END"
    if truncate not in ("NONE", "START", "END"):
        raise Refused("invalid request: truncate must be NONE, START or END")
    limit = 128_000 if model == "embed-v4.0" else 512
    counts = [rules.count_tokens(text) for text in texts]
    for number, (text, count) in enumerate(zip(texts, counts, strict=True)):
        if not text:
            raise Refused(f"invalid request: texts[{number}] must be at least 1 token long")
        if count > limit and truncate == "NONE":
            raise Refused(f"too many tokens: texts[{number}] has {count}, and {model} reads {limit}")
    if any(rules.refuse(text) for text in texts):
        raise Refused("invalid request: a text was refused")
    charged = sum(min(count, limit) for count in counts)
    return Request(str(model), tuple(texts), width or full, body["input_type"], kinds == ["base64"], charged)


def cohere_answer(request: Request, vectors: Matrix, number: int) -> dict[str, Any]:
    """The answer that the contract promises."""
    return {
        "id": f"request-{number}",
        "response_type": "embeddings_by_type",
        "embeddings": {
            "base64" if request.base64 else "float": [_vector(row.tolist(), request.base64) for row in vectors]
        },
        "texts": list(request.texts),
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": request.tokens}},
    }


def cohere_refusal(message: str) -> dict[str, Any]:
    """An error as Cohere writes it."""
    return {"message": message}


def spoilt_cohere(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    """An answer that breaks the contract in the named way; each text stays beside its vector."""
    ((encoding, vectors),) = answer["embeddings"].items()
    texts = answer["texts"]
    if kind == "short":
        vectors, texts = vectors[:-1], texts[:-1]
    elif kind == "long":
        vectors, texts = [*vectors, vectors[0]], [*texts, texts[0]]
    elif kind == "reordered":
        vectors, texts = vectors[::-1], texts[::-1]
    elif kind == "misnumbered":
        vectors, texts = [vectors[-1], *vectors[:-1]], [texts[-1], *texts[:-1]]
    elif kind == "null":
        vectors = [None, *vectors[1:]]
    else:
        vectors = [_spoilt(vectors[0], kind, encoding == "base64"), *vectors[1:]]
    return {**answer, "embeddings": {encoding: vectors}, "texts": texts}


def vectors_of(request: Request) -> Matrix:
    """One unit row a text, ranked by shared words and letters; the same text has the same row in every request."""
    return HashingModel(request.width, _EVERY_WORD).embed(request.texts).vectors


def _vector(row: list[float], encoded: bool) -> list[float] | str:
    return base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode() if encoded else row


def _spoilt(vector: Any, kind: str, encoded: bool) -> list[float] | str:
    row = np.frombuffer(base64.b64decode(vector), dtype="<f4").tolist() if encoded else vector
    bad = row[:-1] if kind == "wrong-length" else [float("nan") if kind == "nan" else 0.0] * len(row)
    return _vector(bad, encoded)
