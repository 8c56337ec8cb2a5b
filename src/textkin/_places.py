"""Where textkin keeps its own files: caches that may be deleted, and data that was paid for."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from textkin.errors import InputError

_FOLDERS = frozenset({"chroma", "lancedb", "qdrant"})


def absolute(path: str | Path) -> Path:
    """What a path means in the working directory of now, whatever that becomes later.

    Raises:
        InputError: a relative path, and the working directory has been deleted.
    """
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise InputError(
            f"{path} means nothing: the working directory was deleted; change to another, or give a whole path"
        ) from error


def located(url: str) -> str:
    """A store's URL with its path from the root, where it has a path; tells it from every other store."""
    scheme, colon, rest = url.partition(":")
    if scheme in _FOLDERS and "://" not in rest:
        path, mark, options = rest.partition("?")
        return f"{scheme}:{absolute(path)}{mark}{options}"
    return url if colon and len(scheme) > 1 else str(absolute(url))


def cache_folder() -> Path:
    """Downloaded weights and graphs built from them; ``TEXTKIN_CACHE`` overrides. Deletable at any time."""
    return _folder("TEXTKIN_CACHE", "cache")


def data_folder() -> Path:
    """The ledger; ``TEXTKIN_DATA`` overrides. Holds vectors that cost time or money."""
    return _folder("TEXTKIN_DATA", "data")


def models_file() -> Path:
    """Where users state prices, limits and models of their own; ``TEXTKIN_MODELS`` overrides. Need not exist."""
    chosen = os.environ.get("TEXTKIN_MODELS")
    return _chosen("TEXTKIN_MODELS", chosen) if chosen else data_folder() / "models.toml"


def _folder(variable: str, kind: str) -> Path:
    chosen = os.environ.get(variable)
    if chosen:
        return _chosen(variable, chosen)
    import platformdirs

    found = platformdirs.user_cache_dir if kind == "cache" else platformdirs.user_data_dir
    return Path(found("textkin", appauthor=False))


@lru_cache
def _chosen(variable: str, value: str) -> Path:
    """A path of the environment: a relative one means what it meant when it was first asked for."""
    try:
        return absolute(Path(value).expanduser())
    except RuntimeError as error:
        raise InputError(f"{variable} names {value}, and there is no such user; write the whole path") from error
