"""Texts given by hand, with or without ids and metadata, as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized

from textkin._arguments import strings
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
    many = strings(texts)
    names = _default_ids(many) if ids is None else strings(ids, "id")
    facts = _one_each(metadata, len(many))
    for what, given in (("ids", names), ("metadata", facts)):
        if len(given) != len(many):
            raise InputError(f"{len(many)} texts but {len(given)} {what}; give one each")
    return [Record(id=name, text=text, metadata=fact) for name, text, fact in zip(names, many, facts, strict=True)]


def _one_each(metadata: Metadata | Iterable[Metadata] | None, count: int) -> list[Metadata]:
    if metadata is None:
        return [{}] * count
    if isinstance(metadata, Mapping):
        for field, value in metadata.items():
            if count > 1 and not isinstance(value, str) and isinstance(value, Sized) and len(value) == count:
                raise InputError(
                    f"metadata is one mapping for all {count} texts, and its {field} has {count} values: give a "
                    f"list with one mapping a text, e.g. [{{{field!r}: value}} for value in ...]; for the same "
                    f"list in each record [metadata] * {count}"
                )
        return [metadata] * count
    if isinstance(metadata, str) or hasattr(metadata, "columns"):
        raise InputError(
            f"metadata is a {type(metadata).__name__}; give one mapping a text, e.g. table.to_dict('records')"
        )
    return list(metadata)


def _default_ids(texts: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for text in texts:
        name = text_digest(well_formed(text)).hex()[:16]
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids
