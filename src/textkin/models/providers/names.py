"""Names of models that others run: ``provider:model?option=value&…``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textkin.errors import InputError

_OPTIONS: Final = {
    "openai": ("dimensions", "batch"),
    "azure": ("model", "dimensions", "batch"),
    "cohere": ("dimensions",),
}
PROVIDERS: Final = tuple(_OPTIONS)
"""What a model's name begins with, before the colon, when somebody else runs it."""


@dataclass(frozen=True, slots=True)
class HostedName:
    """A name, taken apart.

    Attributes:
        provider: one of `PROVIDERS`.
        model: its name there; at Azure the deployment's.
        dimensions: fewer than the model's own; None: its own.
        batch: texts of a request at most; None: as many as the server takes.
        known_as: OpenAI's name of the model behind a deployment at Azure.
    """

    provider: str
    model: str
    dimensions: int | None = None
    batch: int | None = None
    known_as: str | None = None

    def __str__(self) -> str:
        given = {"model": self.known_as, "dimensions": self.dimensions, "batch": self.batch}
        asked = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        return self.plain + (f"?{asked}" if asked else "")

    @property
    def plain(self) -> str:
        """Without options."""
        return f"{self.provider}:{self.model}"


def is_hosted(name: str) -> bool:
    """Whether a name is of a model that others run."""
    provider, _, model = name.partition(":")
    return provider in PROVIDERS and bool(model)


def hosted_name(name: str) -> HostedName:
    """Take a name apart for which `is_hosted` holds.

    Raises:
        InputError: an option that the provider doesn't have, or a value that doesn't fit it.
    """
    provider, _, asked = name.partition(":")
    model, mark, behind = asked.partition("?")
    given = dict(part.partition("=")[::2] for part in behind.split("&")) if mark else {}
    known = _OPTIONS[provider]
    for option, value in given.items():
        fits = bool(value) if option == "model" else value.isdecimal() and int(value) > 0
        if option not in known or not fits:
            form = "&".join(f"{one}={'NAME' if one == 'model' else 'N'}" for one in known)
            raise InputError(
                f"{name}: expected {provider}:MODEL or {provider}:MODEL?{form}, each part or none, "
                "e.g. dimensions=512"
            )
    numbers = {option: int(value) for option, value in given.items() if option != "model"}
    return HostedName(provider, model, numbers.get("dimensions"), numbers.get("batch"), given.get("model"))
