"""OpenAI's embedding models, and every server that speaks the same language, through the official SDK."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from textkin._network import network_settings
from textkin._optional import require
from textkin.errors import (
    CredentialsError,
    InputError,
    ModelError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
)
from textkin.models.fingerprint import CANARIES, fingerprint
from textkin.models.providers.answers import (
    billed_by_status,
    charged,
    checked_rows,
    is_final,
    numbers,
    proxy_refusal,
    unanswered,
)
from textkin.models.providers.gate import Gate, wait_asked
from textkin.models.providers.hosted import HostedModel, facts_of
from textkin.models.providers.names import HostedName
from textkin.models.providers.packing import LearnedSize, RequestLimits
from textkin.models.providers.requests import Answered, Part, PassingError, Patience, RefusedError
from textkin.models.providers.rows import embedded_parts, together
from textkin.models.providers.sending import send_all
from textkin.models.providers.servers import OFFICIAL, Server, azure_server, openai_server
from textkin.models.providers.tokens import TokenCounter, most_tokens
from textkin.text.digest import well_formed
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role, Vector

LIMITS = RequestLimits(texts=2048, tokens=300_000)
"""OpenAI's documented limits of one embeddings request."""
_CHARACTERS_A_TOKEN = 2
_FIRST_TRIES = 3
"""Of the first request to a server: whoever mistyped an address doesn't want to wait for long."""
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class OpenAIModel:
    """A model behind ``/v1/embeddings``.

    The key is read from ``OPENAI_API_KEY`` and kept only by the SDK; ``OPENAI_BASE_URL`` names another
    server. A server other than OpenAI's own may do without a key. Azure has variables of its own:
    ``AZURE_OPENAI_ENDPOINT``, ``AZURE_OPENAI_API_KEY`` and ``OPENAI_API_VERSION``.

    Args:
        model: the provider's name for it, e.g. ``text-embedding-3-small``; at Azure the deployment's name.
        dimensions: fewer than the model's own, where it can; None: its own.
        batch: texts of a request at most; None: as many as the server takes.
        base_url: another server, before ``OPENAI_BASE_URL``.
        deployed: the model is a deployment at Azure.
        known_as: OpenAI's name of the deployed model, for its dimensions and tokens; None: asked for, not known.
        patience: how hard to try.

    Attributes:
        probe: the server's vector of the first canary text, where the catalog doesn't know the model; else None.

    Raises:
        MissingDependencyError: the SDK is not installed (``textkin[openai]``).
        CredentialsError: no key in the environment, or it was refused.
        InputError: dimensions that the model can't give.
        ModelError: a model that is not in the catalog did not answer when asked for its dimensions.
    """

    def __init__(
        self,
        model: str,
        *,
        dimensions: int | None = None,
        batch: int | None = None,
        base_url: str | None = None,
        deployed: bool = False,
        known_as: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._sdk = require("openai", extra="openai")
        name = HostedName("azure" if deployed else "openai", model, dimensions, batch, known_as)
        known = known_model(name)
        self._gate = Gate()
        with network_settings():
            web = self._sdk.DefaultHttpxClient(event_hooks={"response": [self._gate.heard]})
        weakref.finalize(self, web.close)  # or its idle connections stay open until the process ends
        with network_settings():
            self._server = azure_server(self._sdk, web) if deployed else openai_server(self._sdk, base_url, web)
        self._client = self._server.client
        self._name = name
        self._patience = patience or Patience()
        self._limits = RequestLimits(min(batch or LIMITS.texts, LIMITS.texts), LIMITS.tokens)
        self._size = LearnedSize()
        self._count = TokenCounter(known.tokenizer) if known and known.tokenizer else None
        self._as_numbers = known is None or known.added  # not every server knows base64
        self.probe: Vector | None = None
        if known is None:
            self.probe = self._first_vector()
            self._width = len(self.probe)
        else:
            self._width = dimensions or known.dimensions
        self._info = openai_info(name, self._width, known, self._server.place, remembered=self._server.remembered)

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
            self._send,
            texts,
            tokens,
            sizes,
            most,
            unfit,
            self._width,
            self._limits,
            self._patience,
            self._gate,
            self._size,
        )

    def _unfit(self, text: str, tokens: int) -> str | None:
        if not text:
            return "it is empty, which the provider refuses"
        limit = self._info.max_tokens
        if limit is not None and tokens > limit:
            return f"it has {tokens} tokens, and {self._info.name} reads {limit}; split it"
        return None

    def _send(self, texts: list[str]) -> Answered:
        answer = self._request(texts)
        return charged(_used(answer), lambda: checked_answer(answer, len(texts), self._width))

    def _request(self, texts: list[str]) -> Any:
        options: dict[str, Any] = {"model": self._name.model, "input": texts}
        if self._name.dimensions is not None:
            options["dimensions"] = self._name.dimensions
        # Asked for by name, base64 comes to us as it is, where the SDK would make a list of it.
        options["encoding_format"] = "float" if self._as_numbers else "base64"
        return asked(self._sdk, lambda: self._client.embeddings.create(**options), self._name.plain, self._server)

    def _first_vector(self) -> Vector:
        """What the server makes of the first canary text; tells its dimensions."""
        name = self._name.plain
        found = self._first_part()
        if found.failed is not None:
            self._as_numbers = False  # Voyage takes no other format than base64
            found = self._first_part()
        if found.stopped is not None:
            raise found.stopped
        if found.vectors is None:
            raise ModelError(f"{name} did not answer a first request: {found.failed}")
        vector: Vector = found.vectors[0]
        return vector

    def _first_part(self) -> Part:
        patience = dataclasses.replace(self._patience, tries=min(self._patience.tries, _FIRST_TRIES))
        (part,) = send_all(
            self._send_first, CANARIES[:1], most_tokens(CANARIES[:1]), self._limits, patience, self._gate
        )
        return part

    def _send_first(self, texts: list[str]) -> Answered:
        name, wanted = self._name.plain, self._name.dimensions
        answer = self._request(texts)
        try:
            width = numbers(answer.data[0].embedding).size
        except (AttributeError, IndexError, TypeError):
            raise ModelError(f"{name} answered a first request with something else than a vector") from None
        if wanted not in (None, width):
            raise ModelError(
                f"{name}: the server was asked for {wanted} dimensions and answered with {width}; "
                "leave dimensions out"
            )
        return charged(_used(answer), lambda: checked_answer(answer, len(texts), width))


def known_model(name: HostedName) -> HostedModel | None:
    """The catalog's facts about a model, its dimensions checked against them.

    Raises:
        InputError: dimensions that it can't give, or a model behind a deployment that OpenAI doesn't have.
    """
    known = facts_of(name)
    if name.known_as is not None and known is None:
        raise InputError(f"{name.plain}: OpenAI has no model {name.known_as!r}; leave model out if it isn't known")
    if name.dimensions is not None:
        most = known.dimensions if known else 65536
        if known is not None and not known.shortens:
            raise InputError(f"{name.plain} always gives {known.dimensions} dimensions; leave dimensions out")
        if name.dimensions > most:
            raise InputError(f"{name.plain}: dimensions must be 1 to {most}, not {name.dimensions}")
    return known


def openai_info(
    name: HostedName, width: int, known: HostedModel | None, place: str, *, remembered: bool = False
) -> ModelInfo:
    """What is known of a model without asking its server.

    Args:
        name: as it was asked for.
        width: of its vectors.
        known: the catalog's facts.
        place: the server's address; empty for OpenAI's own.
        remembered: whether a collection keeps the address, to find it again.
    """
    facts: dict[str, object] = {"provider": "openai", "model": name.model, "dimensions": width}
    if place:
        facts["server"] = place
    if name.provider == "azure":
        facts |= {"provider": "azure", "deployed": name.known_as}
    details = {
        "kind": "provider",
        "unit_rows": "by the model",
        "tokens": "exact" if known and known.tokenizer else "not known",
    }
    return ModelInfo(
        name=str(name),
        dimensions=width,
        max_tokens=known.max_tokens if known else None,
        fingerprint=fingerprint(facts),
        details=details | ({"server": place} if remembered else {}),
    )


def _used(answer: Any) -> Any:
    return getattr(getattr(answer, "usage", None), "total_tokens", None)


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


def asked(sdk: Any, call: Callable[[], Any], model: str, server: Server) -> Any:
    """Make one call of the SDK; its errors become ours, without what was sent.

    Args:
        sdk: the module.
        call: the call.
        model: its name in messages.
        server: for messages.

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
        ours = _translated(sdk, error, model, server)
    # Outside of the handler: there the SDK's error, which may repeat the key, would come along as its context.
    raise ours


def _translated(sdk: Any, error: Any, model: str, server: Server) -> Exception:
    if isinstance(error, sdk.APIConnectionError):
        return unanswered(error.__cause__ or error, server.place or OFFICIAL)
    if isinstance(error, UnicodeEncodeError):
        return unanswered(error, server.place or OFFICIAL)
    if not isinstance(error, sdk.APIStatusError):
        return PassingError(f"an answer that can't be read ({type(error).__name__})")
    status = error.status_code
    if status == 407:
        return proxy_refusal(model, server.place or OFFICIAL)
    wait = wait_asked(error.response.headers)
    if status in (401, 403):
        return CredentialsError(
            f"{model}: the key in {server.key} was refused (HTTP {status}); check it and its rights"
        )
    if status == 404:
        return ModelNotFoundError(f"{model}: the server knows no such model or path (HTTP 404)")
    if status == 402 or (status == 429 and error.code in _NO_CREDIT):
        return _no_credit(model)
    if status == 429:
        return PassingError("too many requests (HTTP 429)", wait, 0, crowded=True)
    if status in (400, 422):
        return RefusedError(f"the provider refused it (HTTP {status}{_code(error)})")
    if status == 413:
        return RefusedError("the provider found it too large (HTTP 413)")
    if is_final(status):
        return ProviderError(f"{model}: the server doesn't take such requests (HTTP {status}); check its address")
    reason = f"an error of the provider (HTTP {status})"
    return PassingError(reason, wait, billed_by_status(status), of_content=status == 500)


def _no_credit(model: str) -> QuotaError:
    return QuotaError(
        f"{model}: the account's quota is used up; add credit, then run the same again: what was answered "
        "before is kept"
    )


def _code(error: Any) -> str:
    code = getattr(error, "code", None)
    return f", {code}" if isinstance(code, str) and code.isidentifier() else ""
