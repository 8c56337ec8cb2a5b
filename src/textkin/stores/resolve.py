"""From a place, as users write it, to a store."""

from __future__ import annotations

import re
from pathlib import Path

from textkin.errors import InputError
from textkin.stores.local import LocalStore
from textkin.types import Store

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


def open_store(place: str | Path, *, create: bool = True, read_only: bool = False, timeout: float = 10.0) -> Store:
    """Open the store at a place.

    Args:
        place: a folder, by convention named ``….kin``.
        create: make it when it isn't there.
        read_only: open without the right to write.
        timeout: seconds to wait for another writer.

    Raises:
        InputError: a URL of a kind that textkin doesn't know.
        StoreNotFoundError: nothing there, and ``create`` is False.
        StoreError: whatever else keeps it from being opened; see `textkin.errors`.
    """
    scheme = _SCHEME.match(str(place)) if isinstance(place, str) else None
    if scheme:
        raise InputError(f"{place}: textkin can't open a {scheme.group(1)}: store; give a folder, e.g. notes.kin")
    return LocalStore(Path(place), create=create, read_only=read_only, timeout=timeout)
