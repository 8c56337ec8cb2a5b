"""What of a filter a database can be asked for: less than all of it, never more."""

from __future__ import annotations

from collections.abc import Callable

from textkin.where.conditions import And, Compare, Condition, Contains, In, Not, Or


def loosened(condition: Condition, can: Callable[[Compare | In], bool]) -> Condition | None:
    """A condition that everything satisfies which satisfies ``condition``, made of leaves that ``can`` accepts.

    A leaf that the database can't judge is dropped from an ``and``, and takes its ``or`` along. Negations are
    dropped: the opposite of a loose answer would be too strict.

    Returns:
        None where nothing is left to ask for.
    """
    if isinstance(condition, Contains):
        return None  # lists are in the payload only
    if isinstance(condition, Compare | In):
        return condition if can(condition) else None
    if isinstance(condition, And):
        kept = [part for item in condition.items if (part := loosened(item, can)) is not None]
        return And(tuple(kept)) if len(kept) > 1 else (kept[0] if kept else None)
    if isinstance(condition, Or):
        parts = [loosened(item, can) for item in condition.items]
        whole = tuple(part for part in parts if part is not None)
        if not whole or len(whole) < len(parts):
            return None
        return Or(whole) if len(whole) > 1 else whole[0]
    assert isinstance(condition, Not)
    return None
