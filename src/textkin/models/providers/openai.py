"""OpenAI's embedding models, and every server that speaks the same language, through the official SDK."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from textkin._optional import require
from textkin.errors import CredentialsError, InputError, ModelError, ModelNotFoundError, QuotaError
from textkin.models.fingerprint import CANARIES, fingerprint
from textkin.models.providers.answers import checked_rows, wait_asked
from textkin.models.providers.hosted import HostedModel, find_hosted
from textkin.models.providers.packing import RequestLimits
from textkin.models.providers.sending import LearnedSize, PassingError, Patience, RefusedError, send_all
from textkin.models.providers.servers import azure_server, openai_server
from textkin.models.providers.tokens import TokenCounter
from textkin.text.digest import well_formed
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Role, Vector

LIMITS = RequestLimits(texts=2048, tokens=300_000)
"""OpenAI's documented limits of one embeddings request."""
_CHARACTERS_A_TOKEN = 2


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
        self._named = f"{'azure' if deployed else 'openai'}:{model}"
        known = find_hosted(f"openai:{known_as if deployed else model}")
        if known_as is not None and known is None:
            raise InputError(f"{self._named}: OpenAI has no model {known_as!r}; leave model out if it isn't known")
        _check_dimensions(self._named, dimensions, known)
        self._server = azure_server(self._sdk) if deployed else openai_server(self._sdk, base_url)
        self._client = self._server.client
        weakref.finalize(self, self._client.close)  # or its idle connections stay open until the process ends
        self._model = model
        self._asked = dimensions
        self._patience = patience or Patience()
        self._limits = RequestLimits(min(batch or LIMITS.texts, LIMITS.texts), LIMITS.tokens)
        self._size = LearnedSize()
        self._count = TokenCounter(known.tokenizer) if known and known.tokenizer else None
        self._as_numbers = self._count is None  # not every server knows the SDK's own default, base64
        self.probe: Vector | None = None
        if known is None:
            self.probe = self._first_vector()
            self._width = len(self.probe)
        else:
            self._width = dimensions or known.dimensions
        facts: dict[str, object] = {"provider": "openai", "model": model, "dimensions": self._width}
        if self._server.place:
            facts["server"] = self._server.place
        if deployed:
            facts |= {"provider": "azure", "deployed": known_as}
        options = {"model": known_as, "dimensions": dimensions, "batch": batch}
        asked_for = "&".join(f"{name}={value}" for name, value in options.items() if value is not None)
        self._info = ModelInfo(
            name=self._named + (f"?{asked_for}" if asked_for else ""),
            dimensions=self._width,
            max_tokens=known.max_tokens if known else None,
            fingerprint=fingerprint(facts),
            details={"kind": "provider", "unit_rows": "by the model"}
            | ({"server": self._server.place} if self._server.remembered else {}),
        )

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
        failed = {row: why for row, text in enumerate(whole) if (why := self._unfit(text, tokens[row]))}
        rows = [row for row in range(len(whole)) if row not in failed]
        sizes = tokens if self._count else [len(text.encode()) // _CHARACTERS_A_TOKEN + 1 for text in whole]
        answers = send_all(
            self._send,
            [whole[row] for row in rows],
            [sizes[row] for row in rows],
            self._width,
            self._limits,
            self._patience,
            progress,
            self._size,
        )
        vectors = np.zeros((len(whole), self._width), dtype=np.float32)
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

    def _unfit(self, text: str, tokens: int) -> str | None:
        if not text:
            return "it is empty, which the provider refuses"
        limit = self._info.max_tokens
        if limit is not None and tokens > limit:
            return f"it has {tokens} tokens, and {self._info.name} reads {limit}; split it"
        return None

    def _send(self, texts: list[str]) -> Matrix:
        return checked_answer(self._request(texts), len(texts), self._width)

    def _request(self, texts: list[str]) -> Any:
        options: dict[str, Any] = {"model": self._model, "input": texts}
        if self._asked is not None:
            options["dimensions"] = self._asked
        if self._as_numbers:
            options["encoding_format"] = "float"
        return asked(self._sdk, lambda: self._client.embeddings.create(**options), self._named, self._server.key)

    def _first_vector(self) -> Vector:
        """What the server makes of the first canary text; tells its dimensions."""
        try:
            try:
                answer = self._request([CANARIES[0]])
            except RefusedError:
                self._as_numbers = False  # Voyage takes no other format than base64
                answer = self._request([CANARIES[0]])
            width = len(answer.data[0].embedding)
            if self._asked not in (None, width):
                raise ModelError(
                    f"{self._named}: the server was asked for {self._asked} dimensions and answered with {width}; "
                    "leave dimensions out"
                )
            vector: Vector = checked_answer(answer, 1, width)[0]
        except (PassingError, RefusedError) as error:
            raise ModelError(f"{self._named} did not answer a first request: {error}") from None
        except (AttributeError, IndexError, TypeError):
            raise ModelError(f"{self._named} answered a first request with something else than a vector") from None
        return vector


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


def asked(sdk: Any, call: Callable[[], Any], model: str, key: str) -> Any:
    """Make one call of the SDK; its errors become ours, without what was sent.

    Args:
        sdk: the module.
        call: the call.
        model: its name in messages.
        key: the variable with the key, for messages.

    Raises:
        PassingError: worth another try.
        RefusedError: the request's content was refused.
        CredentialsError: the key was refused.
        QuotaError: the account may spend no more.
        ModelNotFoundError: no such model there.
    """
    try:
        return call()
    except (sdk.AuthenticationError, sdk.PermissionDeniedError) as error:
        raise CredentialsError(
            f"{model}: the key in {key} was refused (HTTP {error.status_code}); check it and its rights"
        ) from None
    except sdk.NotFoundError:
        raise ModelNotFoundError(f"{model}: the server knows no such model or path (HTTP 404)") from None
    except sdk.RateLimitError as error:
        if error.code == "insufficient_quota":
            raise QuotaError(
                f"{model}: the account's quota is used up; add credit, then run the same again: what was "
                "answered before is kept"
            ) from None
        raise PassingError("too many requests (HTTP 429)", wait_asked(error.response.headers)) from None
    except (sdk.BadRequestError, sdk.UnprocessableEntityError) as error:
        raise RefusedError(f"the provider refused it (HTTP {error.status_code}{_code(error)})") from None
    except sdk.APIStatusError as error:
        if error.status_code == 413:
            raise RefusedError("the provider found it too large (HTTP 413)") from None
        reason = f"an error of the provider (HTTP {error.status_code})"
        wait = wait_asked(error.response.headers)
        raise PassingError(reason, wait, of_content=error.status_code == 500) from None
    except sdk.APIConnectionError as error:
        raise PassingError(f"no answer ({type(error).__name__})") from None
    except (sdk.APIError, ValueError) as error:
        raise PassingError(f"an answer that can't be read ({type(error).__name__})") from None


def _code(error: Any) -> str:
    code = getattr(error, "code", None)
    return f", {code}" if isinstance(code, str) and code.isidentifier() else ""


def _check_dimensions(model: str, dimensions: int | None, known: HostedModel | None) -> None:
    if dimensions is None:
        return
    most = known.dimensions if known else 65536
    if known is not None and not known.shortens:
        raise InputError(f"{model} always gives {known.dimensions} dimensions; leave dimensions out")
    if not 1 <= dimensions <= most:
        raise InputError(f"{model}: dimensions must be 1 to {most}, not {dimensions}")
