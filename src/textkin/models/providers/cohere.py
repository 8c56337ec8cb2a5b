"""Cohere's embedding models through the official SDK."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from textkin._network import check_plain, clean_address, network_settings, secret
from textkin._optional import require
from textkin.errors import CredentialsError, InputError, ModelNotFoundError, ProviderError, QuotaError
from textkin.models.fingerprint import fingerprint
from textkin.models.providers.answers import (
    billed_by_status,
    charged,
    checked_rows,
    is_final,
    proxy_refusal,
    unanswered,
)
from textkin.models.providers.gate import Gate, wait_asked
from textkin.models.providers.hosted import hosted_models
from textkin.models.providers.packing import RequestLimits
from textkin.models.providers.requests import Answered, PassingError, Patience, RefusedError
from textkin.models.providers.rows import embedded_parts, together
from textkin.models.providers.tokens import most_tokens
from textkin.text.digest import well_formed
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role

LIMITS: Final = RequestLimits(texts=96, tokens=128_000)
"""Cohere's documented number of texts in a request; the tokens are those of its longest reader."""
_OFFICIAL: Final = "https://api.cohere.com"
_BYTES_A_TOKEN: Final = 3
_INPUT_TYPES: Final = {"document": "search_document", "query": "search_query"}


class CohereModel:
    """A model behind Cohere's ``/v2/embed``.

    The key is read from ``CO_API_KEY`` and kept only by the SDK; ``CO_API_URL`` names another server. What Cohere
    calls the input type follows from the role: ``search_document`` or ``search_query``.

    Args:
        model: Cohere's name for it, e.g. ``embed-v4.0``.
        dimensions: of embed-v4.0: 256, 512, 1024 or 1536; None: the model's own.
        patience: how hard to try.

    Raises:
        MissingDependencyError: the SDK is not installed (``textkin[cohere]``).
        CredentialsError: no key in the environment.
        ModelNotFoundError: a model that the catalog doesn't know.
        InputError: dimensions that the model can't give.
    """

    def __init__(self, model: str, *, dimensions: int | None = None, patience: Patience | None = None) -> None:
        self._sdk = require("cohere", extra="cohere")
        self._info = cohere_info(model, dimensions)
        key = secret("CO_API_KEY")
        if not key:
            raise CredentialsError("CO_API_KEY is not set; put your key there")
        server = os.environ.get("CO_API_URL", "").strip() or None
        if server is not None:
            server = clean_address(server, "CO_API_URL")
        check_plain({"CO_CLIENT_NAME": "client's name"})
        self._model = model
        self._asked = dimensions
        self._patience = patience or Patience()
        self._web = require("httpx", extra="cohere")
        self._gate = Gate()
        hooks = {"response": [self._gate.heard]}
        self._place = server or _OFFICIAL
        with network_settings():
            web = self._web.Client(timeout=60.0, follow_redirects=True, event_hooks=hooks)
            weakref.finalize(self, web.close)
            self._client = self._sdk.ClientV2(api_key=key, base_url=server, httpx_client=web)

    def __repr__(self) -> str:
        return f"<CohereModel {self._info.name}>"

    @property
    def info(self) -> ModelInfo:
        return self._info

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """An estimate on the high side, a token for three bytes: Cohere's tokenizer is only there by request."""
        return estimated_tokens(texts)

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """As `Model.embed`; texts that can't be embedded are in ``failed``, what ended the work is ``stopped``."""
        whole = [well_formed(text) for text in texts]
        tokens = self.count_tokens(whole, role)
        return together(self._parts(whole, tokens, role), tokens, self._info.dimensions, progress)

    def embed_parts(
        self, texts: Sequence[str], role: Role = "document"
    ) -> Iterator[tuple[Sequence[int], Embedded]]:
        """As `PartwiseModel.embed_parts`."""
        whole = [well_formed(text) for text in texts]
        return self._parts(whole, self.count_tokens(whole, role), role)

    def _parts(
        self, texts: Sequence[str], tokens: Sequence[int], role: Role
    ) -> Iterator[tuple[Sequence[int], Embedded]]:
        unfit = {row: "it is empty, which the provider refuses" for row, text in enumerate(texts) if not text}
        send = partial(self._send, role=role)
        width = self._info.dimensions
        most = most_tokens(texts)
        return embedded_parts(send, texts, tokens, tokens, most, unfit, width, LIMITS, self._patience, self._gate)

    def _send(self, texts: list[str], role: Role) -> Answered:
        options: dict[str, Any] = {} if self._asked is None else {"output_dimension": self._asked}
        answer = self._asked_for(
            lambda: self._client.embed(
                model=self._model,
                texts=texts,
                input_type=_INPUT_TYPES[role],
                embedding_types=[
                    "base64"
                ],  # of a list of numbers the SDK looks at each, which takes half a second
                truncate="NONE",  # a text that is too long is an error to be told, not something to cut silently
                request_options={"max_retries": 0},
                **options,
            )
        )
        units = getattr(getattr(answer, "meta", None), "billed_units", None)
        return charged(getattr(units, "input_tokens", None), lambda: self._checked(answer, texts))

    def _checked(self, answer: Any, texts: list[str]) -> Matrix:
        echoed = getattr(answer, "texts", None)
        if echoed is not None and list(echoed) != texts:
            raise PassingError("an answer about other texts, or about ours in another order")
        given = getattr(answer, "embeddings", None)
        vectors = getattr(given, "base64", None) or getattr(given, "float_", None)
        if not isinstance(vectors, list):
            raise PassingError("an answer without vectors")
        return checked_rows(vectors, len(texts), self._info.dimensions)

    def _asked_for(self, call: Callable[[], Any]) -> Any:
        """Make one call of the SDK; its errors become ours, without what was sent."""
        ours: Exception
        try:
            return call()
        except self._sdk.core.api_error.ApiError as error:
            ours = self._translated(error.status_code, error.headers or {})
        except (self._web.HTTPError, OSError, UnicodeEncodeError) as error:
            ours = unanswered(error, self._place)
        except ValueError as error:
            ours = PassingError(f"an answer that can't be read ({type(error).__name__})")
        # Outside of the handler: there the SDK's error, which may repeat the key, would come along as its context.
        raise ours

    def _translated(self, status: int | None, headers: Mapping[str, str]) -> Exception:
        if status == 407:
            return proxy_refusal(f"cohere:{self._model}", self._place)
        if status in (401, 403, 498):
            return CredentialsError(
                f"cohere:{self._model}: the key in CO_API_KEY was refused (HTTP {status}); check it and its rights"
            )
        if status == 402:
            return QuotaError(
                f"cohere:{self._model}: the account may spend no more (HTTP 402); add credit, then run the same "
                "again: what was answered before is kept"
            )
        if status == 404:
            return ModelNotFoundError(f"cohere:{self._model}: the server knows no such model or path (HTTP 404)")
        if status in (400, 413, 422):
            return RefusedError(f"the provider refused it (HTTP {status})")
        if status is not None and is_final(status):
            return ProviderError(
                f"cohere:{self._model}: the server doesn't take such requests (HTTP {status}); check CO_API_URL"
            )
        reason = f"an error of the provider (HTTP {status})"
        return PassingError(
            reason, wait_asked(headers), billed_by_status(status), crowded=status == 429, of_content=status == 500
        )


def estimated_tokens(texts: Sequence[str]) -> list[int]:
    """Tokens of each text, for ordinary text on the high side: one for three bytes."""
    return [len(well_formed(text).encode()) // _BYTES_A_TOKEN + 1 for text in texts]


def cohere_info(model: str, dimensions: int | None) -> ModelInfo:
    """What is known of a model without asking for it.

    Raises:
        ModelNotFoundError: the catalog doesn't know it.
        InputError: dimensions that it can't give.
    """
    known = {one.model: one for one in hosted_models() if one.provider == "cohere"}
    if model not in known:
        raise ModelNotFoundError(f"cohere:{model} is not known; one of " + ", ".join(sorted(known)))
    facts = known[model]
    if dimensions is not None and dimensions not in facts.widths:
        told = ", ".join(map(str, facts.widths)) or f"always {facts.dimensions}; leave dimensions out"
        raise InputError(f"cohere:{model}: its dimensions are {told}, not {dimensions}")
    width = dimensions or facts.dimensions
    return ModelInfo(
        name=f"cohere:{model}" + (f"?dimensions={dimensions}" if dimensions else ""),
        dimensions=width,
        max_tokens=facts.max_tokens,
        fingerprint=fingerprint({"provider": "cohere", "model": model, "dimensions": width}),
        role_sensitive=True,
        details={"kind": "provider", "unit_rows": "by the model", "tokens": "estimated"},
    )
