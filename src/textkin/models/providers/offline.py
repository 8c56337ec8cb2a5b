"""A hosted model as far as it is known without an account and a network: its facts and its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from textkin._places import models_file
from textkin.errors import InputError
from textkin.models.providers.cohere import cohere_info, estimated_tokens
from textkin.models.providers.names import hosted_name
from textkin.models.providers.openai import known_model, openai_info
from textkin.models.providers.servers import azure_place, openai_place
from textkin.models.providers.tokens import TokenCounter
from textkin.text.digest import well_formed
from textkin.types import ModelInfo, Role


class OfflineModel:
    """Facts and tokens of a hosted model; it can't embed.

    Args:
        name: ``provider:model``, with or without options.
        base_url: the server of an ``openai:`` model, as in `load_model`.

    Raises:
        InputError: the catalog doesn't know it, or dimensions that it can't give.
        MissingDependencyError: its tokenizer is not installed (``textkin[openai]``).
    """

    def __init__(self, name: str, base_url: str | None = None) -> None:
        asked = hosted_name(name)
        self._count: TokenCounter | None = None
        if asked.provider == "cohere":
            self._info = cohere_info(asked.model, asked.dimensions)
            return
        known = known_model(asked)
        if known is None:
            raise InputError(
                f"{name} is not in the catalog, so nothing can be said of it without asking its server; "
                f'describe it in {models_file()}: ["{asked.plain}"] with dimensions, max_tokens and the price'
            )
        place = azure_place() if asked.provider == "azure" else openai_place(base_url)
        self._info = openai_info(asked, asked.dimensions or known.dimensions, known, place)
        if known.tokenizer is not None:
            self._count = TokenCounter(known.tokenizer)

    @property
    def info(self) -> ModelInfo:
        """As the model's own, with the same fingerprint."""
        return self._info

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """As the model counts; where its tokenizer is not to be had, an estimate."""
        if self._count is None:
            return estimated_tokens(texts)
        return self._count([well_formed(text) for text in texts])
