"""OpenAI's embedding models, and every server that speaks the same language, through the official SDK."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from textkin._optional import require
from textkin.errors import (
    CredentialsError,
    InputError,
    ModelError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
)
from textkin.models.fingerprint import fingerprint
from textkin.models.providers.answers import (
    billed_by_status,
    billed_unsent,
    charged,
    checked_rows,
    is_final,
)
from textkin.models.providers.gate import Gate, wait_asked
from textkin.models.providers.hosted import HostedModel, find_hosted
from textkin.models.providers.packing import RequestLimits
from textkin.models.providers.rows import embedded_parts, together
from textkin.models.providers.sending import Answered, PassingError, Patience, RefusedError
from textkin.models.providers.tokens import TokenCounter, most_tokens
from textkin.models.spending import current_spend
from textkin.text.digest import well_formed
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role

LIMITS = RequestLimits(texts=2048, tokens=300_000)
"""OpenAI's documented limits of one embeddings request."""
_OFFICIAL = "https://api.openai.com/v1"
_CHARACTERS_A_TOKEN = 2
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class OpenAIModel:
    """A model behind ``/v1/embeddings``.

    The key is read from ``OPENAI_API_KEY`` by the SDK and kept nowhere else; ``OPENAI_BASE_URL`` names another
    server. A server other than OpenAI's own may do without a key.

    Args:
        model: the provider's name for it, e.g. ``text-embedding-3-small``.
        dimensions: fewer than the model's own, where it can; None: its own.
        patience: how hard to try.

    Raises:
        MissingDependencyError: the SDK is not installed (``textkin[openai]``).
        CredentialsError: no key in the environment, or it was refused.
        InputError: dimensions that the model can't give.
        ModelError: a model that is not in the catalog did not answer when asked for its dimensions.
    """

    def __init__(self, model: str, *, dimensions: int | None = None, patience: Patience | None = None) -> None:
        self._sdk = require("openai", extra="openai")
        base = openai_server()
        official = base == _OFFICIAL
        known = find_hosted(f"openai:{model}")
        check_dimensions(model, dimensions, known)
        key = os.environ.get("OPENAI_API_KEY")
        if not key and official:
            raise CredentialsError(
                "OPENAI_API_KEY is not set; put your key there, or name another server in OPENAI_BASE_URL"
            )
        self._model = model
        self._asked = dimensions
        self._official = official
        self._listed = known is not None and not known.added
        self._patience = patience or Patience()
        self._gate = Gate()
        web = self._sdk.DefaultHttpxClient(event_hooks={"response": [self._gate.heard]})
        self._client = self._sdk.OpenAI(
            api_key=key or "none", base_url=base, max_retries=0, timeout=60.0, http_client=web
        )
        weakref.finalize(self, self._client.close)  # or its idle connections stay open until the process ends
        self._count = TokenCounter(known.tokenizer) if known and known.tokenizer else None
        self._width = dimensions or (known.dimensions if known else self._asked_width())
        self._info = openai_info(model, dimensions, self._width, known)

    def __repr__(self) -> str:
        return f"<OpenAIModel {self._info.name}>"

    @property
    def info(self) -> ModelInfo:
        return self._info

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text; 0 for every text of a model whose tokenizer is not known."""
        if self._count is None:
            return [0] * len(texts)
        return self._count([well_formed(text) for text in texts])

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """As `Model.embed`; texts that can't be embedded are in ``failed``, what ended the work is ``stopped``."""
        whole = [well_formed(text) for text in texts]
        tokens = self.count_tokens(whole, role)
        return together(self._parts(whole, tokens), tokens, self._width, progress)

    def embed_parts(
        self, texts: Sequence[str], role: Role = "document"
    ) -> Iterator[tuple[Sequence[int], Embedded]]:
        """As `PartwiseModel.embed_parts`."""
        whole = [well_formed(text) for text in texts]
        return self._parts(whole, self.count_tokens(whole, role))

    def _parts(self, texts: Sequence[str], tokens: Sequence[int]) -> Iterator[tuple[Sequence[int], Embedded]]:
        unfit = {row: why for row, text in enumerate(texts) if (why := self._unfit(text, tokens[row]))}
        sizes = tokens if self._count else [len(text.encode()) // _CHARACTERS_A_TOKEN + 1 for text in texts]
        most = tokens if self._count else most_tokens(texts)
        return embedded_parts(
            self._send, texts, tokens, sizes, most, unfit, self._width, LIMITS, self._patience, self._gate
        )

    def _unfit(self, text: str, tokens: int) -> str | None:
        if not text and self._official_rules:
            return "it is empty, which the provider refuses"
        limit = self._info.max_tokens
        if limit is not None and tokens > limit:
            return f"it has {tokens} tokens, and {self._info.name} reads {limit}; split it"
        return None

    @property
    def _official_rules(self) -> bool:
        return self._listed

    def _send(self, texts: list[str]) -> Answered:
        answer = self._request(texts)
        used = getattr(getattr(answer, "usage", None), "total_tokens", None)
        return charged(used, lambda: checked_answer(answer, len(texts), self._width))

    def _request(self, texts: list[str]) -> Any:
        options: dict[str, Any] = {"model": self._model, "input": texts}
        if self._asked is not None:
            options["dimensions"] = self._asked
        # Asked for by name, base64 comes to us as it is, where the SDK would make a list of it. Not every server
        # knows it.
        options["encoding_format"] = "base64" if self._official_rules else "float"
        return asked(self._sdk, lambda: self._client.embeddings.create(**options), self._model)

    def _asked_width(self) -> int:
        spend, most = current_spend(), most_tokens(["x"])[0]
        spend.reserve(most)
        spend.settle(most, 1)
        try:
            data = self._request(["x"]).data
            return len(data[0].embedding)
        except (PassingError, RefusedError) as error:
            raise ModelError(f"openai:{self._model} did not answer a first request: {error}") from None
        except (AttributeError, IndexError, TypeError):
            raise ModelError(
                f"openai:{self._model} answered a first request with something else than a vector"
            ) from None


def openai_server() -> str:
    """The address that requests go to: OPENAI_BASE_URL's, else OpenAI's own."""
    return (os.environ.get("OPENAI_BASE_URL") or _OFFICIAL).rstrip("/")


def openai_info(model: str, dimensions: int | None, width: int, known: HostedModel | None) -> ModelInfo:
    """What is known of a model without asking its server.

    Args:
        model: the provider's name for it.
        dimensions: that were asked for.
        width: of its vectors.
        known: the catalog's facts.
    """
    facts: dict[str, object] = {"provider": "openai", "model": model, "dimensions": width}
    if openai_server() != _OFFICIAL:
        facts["server"] = openai_server()
    return ModelInfo(
        name=f"openai:{model}" + (f"?dimensions={dimensions}" if dimensions else ""),
        dimensions=width,
        max_tokens=known.max_tokens if known else None,
        fingerprint=fingerprint(facts),
        details={
            "kind": "provider",
            "unit_rows": "by the model",
            "tokens": "exact" if known and known.tokenizer else "not known",
        },
    )


def check_dimensions(model: str, dimensions: int | None, known: HostedModel | None) -> None:
    """Raise InputError for dimensions that the model can't give."""
    if dimensions is None:
        return
    most = known.dimensions if known else 65536
    if known is not None and not known.shortens:
        raise InputError(f"openai:{model} always gives {known.dimensions} dimensions; leave dimensions out")
    if not 1 <= dimensions <= most:
        raise InputError(f"openai:{model}: dimensions must be 1 to {most}, not {dimensions}")


def checked_answer(answer: Any, count: int, width: int) -> Matrix:
    """The rows of an answer in the order of the request.

    Args:
        answer: of the SDK.
        count: texts that were sent.
        width: dimensions that are expected.

    Raises:
        PassingError: too few or too many vectors, of another length, NaN, zero, or with wrong numbers.
    """
    data = getattr(answer, "data", None)
    if not isinstance(data, list) or len(data) != count:
        got = len(data) if isinstance(data, list) else "no"
        raise PassingError(f"an answer with {got} vectors for {count} texts")
    vectors: list[Any] = [None] * count
    seen: set[int] = set()
    for item in data:
        place, vector = getattr(item, "index", None), getattr(item, "embedding", None)
        if not isinstance(place, int) or not 0 <= place < count or place in seen:
            raise PassingError(f"an answer whose vectors are not numbered 0 to {count - 1}")
        seen.add(place)
        vectors[place] = vector
    return checked_rows(vectors, count, width)


def asked(sdk: Any, call: Callable[[], Any], model: str) -> Any:
    """Make one call of the SDK; its errors become ours, without what was sent.

    Raises:
        PassingError: worth another try.
        RefusedError: the request's content was refused.
        CredentialsError: the key was refused.
        QuotaError: the account may spend no more.
        ModelNotFoundError: no such model there.
        ProviderError: another refusal that no further try would change.
    """
    try:
        return call()
    except (sdk.OpenAIError, ValueError) as error:
        ours = _translated(sdk, error, model)
    # Outside of the handler: there the SDK's error, which may repeat the key, would come along as its context.
    raise ours


def _translated(sdk: Any, error: Any, model: str) -> Exception:
    if isinstance(error, sdk.APIConnectionError):
        return PassingError(f"no answer ({type(error).__name__})", None, billed_unsent(error.__cause__))
    if not isinstance(error, sdk.APIStatusError):
        return PassingError(f"an answer that can't be read ({type(error).__name__})")
    status = error.status_code
    wait = wait_asked(error.response.headers)
    if status in (401, 403):
        return CredentialsError(
            f"openai:{model}: the key in OPENAI_API_KEY was refused (HTTP {status}); check it and its rights"
        )
    if status == 404:
        return ModelNotFoundError(f"openai:{model}: the server knows no such model or path (HTTP 404)")
    if status == 402 or (status == 429 and error.code in _NO_CREDIT):
        return _no_credit(model)
    if status == 429:
        return PassingError("too many requests (HTTP 429)", wait, 0, crowded=True)
    if status in (400, 422):
        return RefusedError(f"the provider refused it (HTTP {status}{_code(error)})")
    if status == 413:
        return RefusedError("the provider found it too large (HTTP 413)")
    if is_final(status):
        return ProviderError(
            f"openai:{model}: the server doesn't take such requests (HTTP {status}); check OPENAI_BASE_URL"
        )
    return PassingError(f"an error of the provider (HTTP {status})", wait, billed_by_status(status))


def _no_credit(model: str) -> QuotaError:
    return QuotaError(
        f"openai:{model}: the account's quota is used up; add credit, then run the same again: what was answered "
        "before is kept"
    )


def _code(error: Any) -> str:
    code = getattr(error, "code", None)
    return f", {code}" if isinstance(code, str) and code.isidentifier() else ""
