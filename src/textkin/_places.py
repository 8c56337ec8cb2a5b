"""Where textkin keeps its own files: caches that may be deleted, and data that was paid for."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Downloaded weights and graphs built from them; ``TEXTKIN_CACHE`` overrides. Deletable at any time."""
    return _folder("TEXTKIN_CACHE", "cache")


def data_folder() -> Path:
    """The ledger; ``TEXTKIN_DATA`` overrides. Holds vectors that cost time or money."""
    return _folder("TEXTKIN_DATA", "data")


def models_file() -> Path:
    """Where users state prices, limits and models of their own; ``TEXTKIN_MODELS`` overrides. Need not exist."""
    chosen = os.environ.get("TEXTKIN_MODELS")
    return Path(chosen).expanduser() if chosen else data_folder() / "models.toml"


def _folder(variable: str, kind: str) -> Path:
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    found = platformdirs.user_cache_dir if kind == "cache" else platformdirs.user_data_dir
    return Path(found("textkin", appauthor=False))
