"""What a model's name says before anything is fetched or asked: enough to refuse most that would be refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textkin.errors import InputError, ModelMismatchError
from textkin.models import catalog
from textkin.models.providers.hosted import facts_of
from textkin.models.providers.names import hosted_name, is_hosted
from textkin.models.weights.identity import tokenizer_digest, weights_digest
from textkin.types import ModelInfo

_TORCH: Final = "sentence-transformers:"
_LIBRARY_CURE: Final = "Open it without model="


@dataclass(frozen=True, slots=True)
class Foretold:
    """What is known of a model by its name; None where it isn't.

    Attributes:
        known_as: the one way to write it, for a name that can mean one model only.
        dimensions: of its vectors.
        weights_digest: as in `ModelInfo`.
        tokenizer_digest: as in `ModelInfo`.
    """

    known_as: str | None = None
    dimensions: int | None = None
    weights_digest: str | None = None
    tokenizer_digest: str | None = None


def foretold(name: str) -> Foretold:
    """Read a name; nothing is loaded, fetched or asked."""
    kind, _, behind = name.partition(":")
    if kind == "hashing":
        width = int(behind) if behind.isdecimal() else None if behind else 256
        return Foretold(f"hashing:{width}" if width else None, width)
    if is_hosted(name):
        try:
            asked = hosted_name(name)
            facts = facts_of(asked)
        except InputError:
            return Foretold()  # loading it says what is wrong with the name, or with the user's own facts
        return Foretold(None, asked.dimensions or (None if facts is None else facts.dimensions))
    plain = name.removeprefix(_TORCH)
    entry = catalog.find(plain)
    if entry is None:
        return Foretold()
    pins = {file.path: file.digest for file in entry.files}
    if not pins:
        return Foretold(entry.name, entry.dimensions)
    return Foretold(entry.name, entry.dimensions, weights_digest(pins), tokenizer_digest(pins))


def refuse_other_name(
    name: object, built: ModelInfo, place: str, cure: str = _LIBRARY_CURE, other: str | None = None
) -> None:
    """Refuse a model that can't be the one that made a store's vectors, as far as its name tells.

    Where this is silent, the model has to be loaded and compared.

    Args:
        name: as the user chose it; an object or a folder tells nothing yet.
        built: the model of the store's header.
        place: the store.
        cure: what to do to keep that model.
        other: what to do to use this one; by default to index the texts into a new collection.

    Raises:
        ModelMismatchError: it is another one.
    """
    if not isinstance(name, str) or name == built.name:
        return
    asked = foretold(name)
    known = foretold(built.name) if built.details.get("kind") != "object" else Foretold()
    pairs = (
        (asked.dimensions, built.dimensions),
        (asked.known_as, known.known_as),
        (asked.weights_digest, built.weights_digest),
        (asked.tokenizer_digest, built.tokenizer_digest),
    )
    if all(None in pair or pair[0] == pair[1] for pair in pairs):
        return
    other = other or f"index the texts into a new collection: textkin index INPUT --to NEW --model {name}"
    width = "" if asked.dimensions is None else f" ({asked.dimensions} dimensions)"
    raise ModelMismatchError(
        f"{place} was built with {built.name} (fingerprint {built.short_fingerprint}…, {built.dimensions} "
        f"dimensions), not {name}{width}. Their vectors can't be compared, so nothing was fetched. {cure}, or "
        f"{other}"
    )
