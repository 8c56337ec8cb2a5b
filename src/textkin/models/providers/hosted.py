"""Dated facts about models that others run: the catalog's, and the user's own over them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from textkin.models.providers.names import HostedName, hosted_name, is_hosted
from textkin.models.providers.own_facts import OwnFacts, own_facts


@dataclass(frozen=True, slots=True)
class HostedModel:
    """What a provider publishes about one model.

    Attributes:
        name: as people write it, ``provider:model``.
        provider: whose it is.
        model: its name there.
        dimensions: length of a vector unless a shorter one is asked for.
        shortens: whether fewer dimensions can be asked for.
        max_tokens: that it reads of one text; None: not known.
        dollars_per_million_tokens: the list price; None: not known.
        tokenizer: the encoding by which it counts; None: not to be had offline.
        checked: ISO date on which the price was looked up; empty: not said.
        source: where the price was found, and what could not be confirmed.
        runs: where the model computes.
        batch_dollars_per_million_tokens: the price of OpenAI's Batch API; None: not known, or there is none.
        widths: the dimensions that can be asked for, where they are but a few.
        licence: what the publisher says.
        tokens_per_minute: that an account may send; None: not known.
        texts_per_minute: the same in texts.
        rate_source: where these two were found.
        added: whether it comes from the user's file alone.
    """

    name: str
    provider: str
    model: str
    dimensions: int
    shortens: bool
    max_tokens: int | None
    dollars_per_million_tokens: float | None
    tokenizer: str | None
    checked: str
    source: str
    runs: str
    batch_dollars_per_million_tokens: float | None = None
    widths: tuple[int, ...] = ()
    licence: str = "proprietary"
    tokens_per_minute: int | None = None
    texts_per_minute: int | None = None
    rate_source: str = ""
    added: bool = False


@cache
def _shipped() -> tuple[HostedModel, ...]:
    text = resources.files("textkin.models.providers").joinpath("hosted.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    return tuple(
        HostedModel(**{**model, "widths": tuple(model.get("widths", ()))}, checked=facts["checked"])
        for model in facts["models"]
    )


def hosted_models() -> tuple[HostedModel, ...]:
    """All that are known: the catalog's with what the user's file says of them, then the user's own.

    Raises:
        InputError: the user's file is wrong; names the entry.
    """
    shipped = {model.name: model for model in _shipped()}
    own = own_facts({name: model.dimensions for name, model in shipped.items()})
    known = [_changed(model, own[name]) if name in own else model for name, model in shipped.items()]
    return (*known, *(_added(name, facts) for name, facts in own.items() if name not in shipped))


def price_of(name: str) -> float | None:
    """Dollars a million tokens of a model, with or without options behind its name; None: not known.

    It is 0 for one that runs on this machine.
    """
    if not is_hosted(name):
        return 0.0
    known = facts_of(hosted_name(name))
    return None if known is None else known.dollars_per_million_tokens


def facts_of(name: HostedName) -> HostedModel | None:
    """What is known of the model that a name asks for; of a deployment at Azure, of the model behind it."""
    own = find_hosted(name.plain)
    return own if own is not None or name.known_as is None else find_hosted(f"openai:{name.known_as}")


def find_hosted(name: str) -> HostedModel | None:
    """The model with this name; None when it is not known."""
    return next((model for model in hosted_models() if model.name == name), None)


def _changed(model: HostedModel, facts: OwnFacts) -> HostedModel:
    changes = {name: value for name, value in facts.given.items() if name != "dimensions"}
    if "dollars_per_million_tokens" in changes:
        # What was found out about the price that this one replaces says nothing about it.
        changes = {"batch_dollars_per_million_tokens": None, "checked": "", **changes}
        changes.setdefault("source", str(facts.file))
    if "tokens_per_minute" in changes:
        changes["rate_source"] = str(facts.file)
    return dataclasses.replace(model, **changes)


def _added(name: str, facts: OwnFacts) -> HostedModel:
    provider, _, model = name.partition(":")
    plain: dict[str, object] = {
        "shortens": bool(facts.given.get("widths")),
        "max_tokens": None,
        "dollars_per_million_tokens": None,
        "tokenizer": None,
        "checked": "",
        "source": str(facts.file),
        "runs": provider,
        "licence": "not stated",
        "rate_source": str(facts.file),
    }
    return HostedModel(name=name, provider=provider, model=model, added=True, **{**plain, **facts.given})
