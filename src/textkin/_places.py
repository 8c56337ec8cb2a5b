"""Where textkin keeps its own files: caches that may be deleted, and data that was paid for."""

from __future__ import annotations

import os
from pathlib import Path

from textkin.errors import InputError


def cache_folder() -> Path:
    """Downloaded weights and graphs built from them; ``TEXTKIN_CACHE`` overrides. Deletable at any time."""
    return _folder("TEXTKIN_CACHE", "cache")


def data_folder() -> Path:
    """The ledger; ``TEXTKIN_DATA`` overrides. Holds vectors that cost time or money."""
    return _folder("TEXTKIN_DATA", "data")


def models_file() -> Path:
    """Where users state prices, limits and models of their own; ``TEXTKIN_MODELS`` overrides. Need not exist."""
    chosen = os.environ.get("TEXTKIN_MODELS")
    return _named("TEXTKIN_MODELS", chosen) if chosen else data_folder() / "models.toml"


def _folder(variable: str, kind: str) -> Path:
    chosen = os.environ.get(variable)
    if chosen:
        return _named(variable, chosen)
    import platformdirs

    found = platformdirs.user_cache_dir if kind == "cache" else platformdirs.user_data_dir
    return Path(found("textkin", appauthor=False))


def _named(variable: str, chosen: str) -> Path:
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise InputError(f"{variable} names {chosen}, and there is no such user; write the whole path") from error
