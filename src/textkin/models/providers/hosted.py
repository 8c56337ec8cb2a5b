"""Dated facts about models that others run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class HostedModel:
    """What a provider publishes about one model.

    Attributes:
        name: as people write it, ``provider:model``.
        provider: whose it is.
        model: its name there.
        dimensions: length of a vector unless a shorter one is asked for.
        shortens: whether fewer dimensions can be asked for.
        max_tokens: that it reads of one text.
        dollars_per_million_tokens: the list price; None: not known.
        tokenizer: the encoding by which it counts; None: not to be had offline.
        checked: ISO date on which these facts were looked up, or that they were not.
        widths: the dimensions that can be asked for, where they are but a few.
    """

    name: str
    provider: str
    model: str
    dimensions: int
    shortens: bool
    max_tokens: int
    dollars_per_million_tokens: float | None
    tokenizer: str | None
    checked: str
    widths: tuple[int, ...] = ()


@cache
def hosted_models() -> tuple[HostedModel, ...]:
    """All that are known."""
    text = resources.files("textkin.models.providers").joinpath("hosted.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    return tuple(
        HostedModel(**{**model, "widths": tuple(model.get("widths", ()))}, checked=facts["checked"])
        for model in facts["models"]
    )


PROVIDERS = ("openai", "cohere")
"""What a model's name begins with, before the colon, when somebody else runs it."""


def price_of(name: str) -> float | None:
    """Dollars a million tokens of a model, with or without ``?dimensions=``; None: not known.

    It is 0 for one that runs on this machine.
    """
    if name.partition(":")[0] not in PROVIDERS:
        return 0.0
    known = find_hosted(name.partition("?")[0])
    return None if known is None else known.dollars_per_million_tokens


def find_hosted(name: str) -> HostedModel | None:
    """The model with this name; None when it is not known."""
    return next((model for model in hosted_models() if model.name == name), None)
