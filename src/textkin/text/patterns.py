"""Patterns of files: ``*`` within a segment of a path, ``**`` for any folders."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
from collections.abc import Sequence

from textkin.errors import InputError


def check_patterns(patterns: Sequence[str]) -> None:
    """Refuse patterns that can match nothing.

    Raises:
        InputError: an empty or absolute one.
    """
    for pattern in patterns:
        if not pattern.strip("/ "):
            raise InputError("an include or exclude pattern is empty; expected something like *.md or drafts/**")
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise InputError(
                f"the pattern {pattern!r} must be relative to the folder that is read, like drafts/**"
            )


def segments(pattern: str) -> tuple[str, ...]:
    """Segments of an include or exclude pattern; a bare name fits at any depth."""
    parts = tuple(part for part in pattern.replace("\\", "/").split("/") if part not in ("", "."))
    return ("**", *parts) if len(parts) == 1 else parts


def any_fits(patterns: tuple[tuple[str, ...], ...], parts: tuple[str, ...]) -> bool:
    return any(fits(parts, pattern) for pattern in patterns)


def fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern whole; ``**`` stands for any folders, at the end for anything inside."""
    reached = {0}
    for number, part in enumerate(parts):
        reached = _step(part, pattern, reached, last=number == len(parts) - 1)
    return len(pattern) in reached


def leads_on(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether something inside this folder can fit the pattern."""
    reached = {0}
    for part in parts:
        reached = _step(part, pattern, reached, last=False)
    return any(at < len(pattern) for at in reached)


def _step(part: str, pattern: tuple[str, ...], reached: set[int], last: bool) -> set[int]:
    following: set[int] = set()
    for at in reached:
        here = at
        while here < len(pattern) and pattern[here] == "**":
            following.add(here)
            here += 1
            if here == len(pattern) and last:
                following.add(here)
        if here < len(pattern) and _segment(pattern[here])(part):
            following.add(here + 1)
    return following


@functools.lru_cache(maxsize=256)
def _segment(pattern: str) -> functools.partial[re.Match[str] | None]:
    return functools.partial(re.fullmatch, fnmatch.translate(os.path.normcase(pattern)))
