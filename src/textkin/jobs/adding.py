"""Texts given by hand, with or without ids and metadata, as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from textkin.errors import InputError
from textkin.text.digest import text_digest, well_formed
from textkin.types import Metadata, Record


def text_records(
    texts: str | Iterable[str],
    ids: str | Iterable[str] | None = None,
    metadata: Metadata | Iterable[Metadata] | None = None,
) -> list[Record]:
    """Records in the texts' order.

    Args:
        texts: one, or many.
        ids: one a text; by default made from the text, the n-th equal text with ``-n`` behind it.
        metadata: one mapping a text, or one for all.

    Raises:
        InputError: lengths that differ, a text or an id that is no str.
    """
    if isinstance(texts, Mapping):
        raise InputError("texts is a mapping; give its texts as a list, and ids= and metadata= beside it")
    if hasattr(texts, "columns"):
        raise InputError("texts is a table; give one of its columns, e.g. table['text'], and metadata= beside it")
    many = [texts] if isinstance(texts, str) else list(texts)
    _check_strings(many, "text")
    names = _default_ids(many) if ids is None else [ids] if isinstance(ids, str) else list(ids)
    facts = _one_each(metadata, len(many))
    for what, given in (("ids", names), ("metadata", facts)):
        if len(given) != len(many):
            raise InputError(f"{len(many)} texts but {len(given)} {what}; give one each")
    _check_strings(names, "id")
    return [Record(id=name, text=text, metadata=fact) for name, text, fact in zip(names, many, facts, strict=True)]


def _check_strings(values: Sequence[object], what: str) -> None:
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(f"{what} number {number} is a {type(value).__name__}, not a str: {value!r:.80}")


def _one_each(metadata: Metadata | Iterable[Metadata] | None, count: int) -> list[Metadata]:
    if metadata is None:
        return [{}] * count
    if isinstance(metadata, Mapping):
        return [metadata] * count
    return list(metadata)


def _default_ids(texts: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for text in texts:
        name = text_digest(well_formed(text)).hex()[:16]
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids
