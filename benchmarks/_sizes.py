"""What an installation weighs: the packages that a requirement pulls in, by their own records."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(package: str, extras: frozenset[str] = frozenset()) -> dict[str, importlib.metadata.Distribution]:
    """A package and all that it needs here, by canonical name; what is not installed is left out."""
    found: dict[str, importlib.metadata.Distribution] = {}
    visited: set[tuple[str, frozenset[str]]] = set()
    waiting = [(package, extras)]
    while waiting:
        name, wanted = waiting.pop()
        key = (canonicalize_name(name), wanted)
        if key in visited:
            continue
        visited.add(key)
        try:
            found[key[0]] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in found[key[0]].requires or []:
            needed = Requirement(line)
            contexts = [{"extra": extra} for extra in wanted or {""}]
            if needed.marker is None or any(needed.marker.evaluate(context) for context in contexts):
                waiting.append((needed.name, frozenset(needed.extras)))
    return found


def installed_bytes(distribution: importlib.metadata.Distribution, source: Path | None = None) -> int:
    """Bytes of a package's files as its record lists them, compiled copies left out.

    Args:
        distribution: the package.
        source: count this folder instead: for a package installed as a link to it.
    """
    if source is not None:
        return sum(file.stat().st_size for file in source.rglob("*") if file.is_file() and file.suffix != ".pyc")
    total = 0
    for file in distribution.files or []:
        place = Path(str(file.locate()))
        if file.suffix != ".pyc" and place.is_file():
            total += place.stat().st_size
    return total
