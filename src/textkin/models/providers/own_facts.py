"""The user's own file of prices, limits and models: ``models.toml``."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from textkin._places import models_file
from textkin.errors import InputError
from textkin.models.providers.names import PROVIDERS
from textkin.models.settings import read_regular

_TOKENIZERS: Final = ("cl100k_base", "o200k_base")
_KEYS: Final = {
    "dimensions": "a whole number over 0",
    "max_tokens": "a whole number over 0",
    "tokens_per_minute": "a whole number over 0",
    "dollars_per_million_tokens": "a number, 0 or more",
    "batch_dollars_per_million_tokens": "a number, 0 or more",
    "tokenizer": f"one of {', '.join(_TOKENIZERS)}",
    "widths": "a list of whole numbers over 0",
    "shortens": "true or false",
    "licence": "a text",
    "runs": "a text",
    "source": "a text",
    "checked": "a date such as 2026-11-24",
}
_FIXED: Final = ("dimensions", "tokenizer", "widths", "shortens")


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What the user's file says of one model.

    Attributes:
        file: that says it.
        given: the facts, by the names of `HostedModel`'s attributes.
    """

    file: Path
    given: Mapping[str, Any]


def own_facts(catalog: Mapping[str, int]) -> dict[str, OwnFacts]:
    """Facts by model, in the file's order; none where there is no file.

    Args:
        catalog: the dimensions of the models that are known anyway: what changes their vectors can't be changed.

    Raises:
        InputError: the file can't be read, or an entry is wrong; says which, and what was expected.
    """
    file = models_file()
    try:
        entries = tomllib.loads(read_regular(file).decode())
    except FileNotFoundError:
        if os.environ.get("TEXTKIN_MODELS"):
            raise InputError(f"TEXTKIN_MODELS names {file}, which isn't there") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file} can't be read: {reason}; mend it, or move it away") from error
    return {name: OwnFacts(file, _checked(file, name, entry, catalog)) for name, entry in entries.items()}


def _checked(file: Path, name: str, entry: Any, catalog: Mapping[str, int]) -> dict[str, Any]:
    provider, _, model = name.partition(":")
    if provider not in PROVIDERS or not model or "?" in model or not isinstance(entry, dict):
        wanted = " or ".join(f'["{known}:MODEL"]' for known in PROVIDERS)
        raise InputError(f"{file}: [{name}] is no model that others run; expected a table {wanted}, in quotes")
    for key, value in entry.items():
        if key not in _KEYS:
            raise InputError(f"{file}: [{name}] has {key!r}, which means nothing; expected {', '.join(_KEYS)}")
        if not _fits(key, value):
            raise InputError(f"{file}: [{name}] {key} = {value!r}: expected {_KEYS[key]}")
        if name in catalog and key in _FIXED:
            raise InputError(
                f"{file}: [{name}] {key} can't be changed: vectors and their fingerprint hang on it; leave it out"
            )
    if name not in catalog and "dimensions" not in entry:
        raise InputError(
            f"{file}: [{name}] is not in textkin's catalog, so its entry must say dimensions (of a vector)"
        )
    facts = {key: value.isoformat() if isinstance(value, date) else value for key, value in entry.items()}
    if "widths" in facts:
        facts["widths"] = tuple(facts["widths"])
    return facts


def _fits(key: str, value: Any) -> bool:
    if key in ("dimensions", "max_tokens", "tokens_per_minute"):
        return _is_count(value)
    if key.endswith("dollars_per_million_tokens"):
        return isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value) and value >= 0
    if key == "tokenizer":
        return value in _TOKENIZERS
    if key == "widths":
        return isinstance(value, list) and all(_is_count(one) for one in value)
    if key == "shortens":
        return isinstance(value, bool)
    if key == "checked":
        return _is_date(value)
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and type(value) is not bool and value > 0


def _is_date(value: Any) -> bool:
    if isinstance(value, date):
        return True
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
