"""Cohere's embedding models through the official SDK."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin.errors import CredentialsError, InputError, ModelNotFoundError, QuotaError
from textkin.models.fingerprint import fingerprint
from textkin.models.providers.answers import checked_rows, wait_asked
from textkin.models.providers.hosted import hosted_models
from textkin.models.providers.packing import RequestLimits
from textkin.models.providers.sending import PassingError, Patience, RefusedError, send_all
from textkin.text.digest import well_formed
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role

LIMITS: Final = RequestLimits(texts=96, tokens=128_000)
"""Cohere's documented number of texts in a request; the tokens are those of its longest reader."""
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
        known = {one.model: one for one in hosted_models() if one.provider == "cohere"}
        if model not in known:
            raise ModelNotFoundError(f"cohere:{model} is not known; one of " + ", ".join(sorted(known)))
        facts = known[model]
        if dimensions is not None and dimensions not in facts.widths:
            told = ", ".join(map(str, facts.widths)) or f"always {facts.dimensions}; leave dimensions out"
            raise InputError(f"cohere:{model}: its dimensions are {told}, not {dimensions}")
        key = os.environ.get("CO_API_KEY")
        if not key:
            raise CredentialsError("CO_API_KEY is not set; put your key there")
        server = os.environ.get("CO_API_URL") or None
        self._model = model
        self._asked = dimensions
        self._patience = patience or Patience()
        self._web = require("httpx", extra="cohere")
        web = self._web.Client(timeout=60.0, follow_redirects=True)
        weakref.finalize(self, web.close)
        self._client = self._sdk.ClientV2(api_key=key, base_url=server, httpx_client=web)
        self._info = ModelInfo(
            name=f"cohere:{model}" + (f"?dimensions={dimensions}" if dimensions else ""),
            dimensions=dimensions or facts.dimensions,
            max_tokens=facts.max_tokens,
            fingerprint=fingerprint(
                {"provider": "cohere", "model": model, "dimensions": dimensions or facts.dimensions}
            ),
            role_sensitive=True,
            details={"kind": "provider", "unit_rows": "by the model"},
        )

    def __repr__(self) -> str:
        return f"<CohereModel {self._info.name}>"

    @property
    def info(self) -> ModelInfo:
        return self._info

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """An estimate on the high side, a token for three bytes: Cohere's tokenizer is only there by request."""
        return [len(well_formed(text).encode()) // _BYTES_A_TOKEN + 1 for text in texts]

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """As `Model.embed`; texts that can't be embedded are in ``failed``, what ended the work is ``stopped``."""
        whole = [well_formed(text) for text in texts]
        tokens = self.count_tokens(whole, role)
        rows = [row for row, text in enumerate(whole) if text]
        failed = {row: "it is empty, which the provider refuses" for row, text in enumerate(whole) if not text}
        answers = send_all(
            partial(self._send, role=role),
            [whole[row] for row in rows],
            [tokens[row] for row in rows],
            self._info.dimensions,
            LIMITS,
            self._patience,
            progress,
        )
        vectors = np.zeros((len(whole), self._info.dimensions), dtype=np.float32)
        vectors[rows] = answers.vectors
        failed.update({rows[place]: why for place, why in answers.failed.items()})
        missing = [row for place, row in enumerate(rows) if place not in answers.done and row not in failed]
        return Embedded(
            vectors=vectors,
            tokens=np.asarray(tokens, dtype=np.int64),
            truncated=(),
            failed=failed,
            stopped=answers.stopped,
            unanswered=tuple(missing),
        )

    def _send(self, texts: list[str], role: Role) -> Matrix:
        options: dict[str, Any] = {} if self._asked is None else {"output_dimension": self._asked}
        answer = self._asked_for(
            lambda: self._client.embed(
                model=self._model,
                texts=texts,
                input_type=_INPUT_TYPES[role],
                embedding_types=["float"],
                truncate="NONE",  # a text that is too long is an error to be told, not something to cut silently
                request_options={"max_retries": 0},
                **options,
            )
        )
        echoed = getattr(answer, "texts", None)
        if echoed is not None and list(echoed) != texts:
            raise PassingError("an answer about other texts, or about ours in another order")
        vectors = getattr(getattr(answer, "embeddings", None), "float_", None)
        if not isinstance(vectors, list):
            raise PassingError("an answer without vectors")
        return checked_rows(vectors, len(texts), self._info.dimensions)

    def _asked_for(self, call: Callable[[], Any]) -> Any:
        """Make one call of the SDK; its errors become ours, without what was sent."""
        try:
            return call()
        except self._sdk.core.api_error.ApiError as error:
            # Without its body, which may repeat what was sent.
            raise self._translated(error.status_code, error.headers or {}) from None
        except (self._web.HTTPError, OSError) as error:
            raise PassingError(f"no answer ({type(error).__name__})") from None
        except ValueError as error:
            raise PassingError(f"an answer that can't be read ({type(error).__name__})") from None

    def _translated(self, status: int | None, headers: Mapping[str, str]) -> Exception:
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
        reason = f"an error of the provider (HTTP {status})"
        return PassingError(reason, wait_asked(headers), of_content=status == 500)
