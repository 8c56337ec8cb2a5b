"""Which models' vectors may be cut to their first coordinates: those that were trained for it (Matryoshka)."""

from __future__ import annotations

from textkin.models import catalog
from textkin.models.providers.hosted import facts_of
from textkin.models.providers.names import hosted_name, is_hosted

_TORCH = "sentence-transformers:"
_CURE = "leave dimensions out: int8 and binary save more and lose less (--dtype)"


def may_truncate(model: str, dimensions: int) -> str | None:
    """Why a model's vectors must not be cut to so many dimensions; None: they may be.

    A model is refused by name where it is known not to be trained for it: no publisher of a local model of the
    catalog says so, and a hashed vector has no order of coordinates. OpenAI's text-embedding-3 and Cohere's
    embed-v4.0 are trained for it (their ``?dimensions=`` gives the same, already cut). Of any other model (a
    folder, an object, a server of one's own) nothing is known, and a refusal would be a guess from a name. It is
    accepted, since the recall on the user's own vectors is measured before any are written; `trained_for_it` is
    False then, and who asks says so.

    Args:
        model: its name, as in `ModelInfo.name`.
        dimensions: that shall stay.
    """
    if _is_hashing(model):
        return (
            f"{model} hashes words and letters into dimensions that have no order; for shorter vectors name the "
            f"model hashing:{dimensions}"
        )
    if is_hosted(model):
        asked = hosted_name(model)
        facts = facts_of(asked)
        if facts is None or (facts.added and not facts.shortens):
            return None
        if not facts.shortens:
            always = f"{facts.dimensions} dimensions, always"
            return f"{asked.plain} is not trained for shorter vectors ({always}); {_CURE}"
        if facts.widths and dimensions not in facts.widths:
            return f"{asked.plain} is trained for {_or(facts.widths)} dimensions, not {dimensions}"
        return None
    entry = catalog.find(model.removeprefix(_TORCH))
    if entry is None:
        return None
    return f"{entry.name} is not trained for shorter vectors; {_CURE}"


def trained_for_it(model: str) -> bool:
    """Whether the publisher says that a model's first coordinates can stand for its vectors."""
    if not is_hosted(model):
        return False
    facts = facts_of(hosted_name(model))
    return facts is not None and facts.shortens


def _is_hashing(model: str) -> bool:
    return model == "hashing" or model.startswith("hashing:")


def _or(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths[:-1])) + f" or {widths[-1]}" if len(widths) > 1 else str(widths[0])
