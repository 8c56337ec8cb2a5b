"""Records to vectors: split what is longer than the model reads, embed each passage once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textkin.ledger import Ledger, embed
from textkin.text.split import split_all
from textkin.types import Matrix, Model, Progress, ReadingModel, Record
from textkin.vectors.similarity import normalize


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedRecords:
    """Records with their passages and vectors.

    Attributes:
        records: as given, with ``spans`` filled.
        vectors: ``(spans of all records, dimensions)`` unit rows, record by record.
        embedded: texts that the model was really asked for.
        from_ledger: texts whose vectors were there already.
        failed: id to why the record has no vector; it is not among ``records``.
        truncated: ids of records of which a passage was longer than the model reads; only models that
            don't tell their tokens beforehand can have any.
        unread: ids of records in which the model can read nothing: their vectors say nothing of them.
    """

    records: tuple[Record, ...]
    vectors: Matrix
    embedded: int
    from_ledger: int
    truncated: tuple[str, ...]
    failed: Mapping[str, str]
    unread: tuple[str, ...] = ()


def embed_records(
    model: Model, records: Sequence[Record], ledger: Ledger | None, progress: Progress | None = None
) -> EmbeddedRecords:
    """Split and embed records.

    Args:
        model: what makes the vectors; its ``max_tokens`` is the longest passage.
        records: their texts well-formed.
        ledger: where vectors are looked up and kept; None embeds everything anew.
        progress: called with (records done, records in all).
    """
    texts = [record.text for record in records]
    spans = split_all(texts, model.count_tokens, model.info.max_tokens)
    split = tuple(dataclasses.replace(record, spans=parts) for record, parts in zip(records, spans, strict=True))
    owners = [number for number, parts in enumerate(spans) for _ in parts]
    passages = [record.text[span.start : span.end] for record in split for span in record.spans]
    result = embed(
        model,
        passages,
        "document",
        ledger,
        _in_records(progress, owners, len(split)),
        name_of=lambda row: f"the text of {split[owners[row]].id!r}",
    )
    failed: dict[str, str] = {}
    for row, reason in result.failed.items():
        failed.setdefault(split[owners[row]].id, reason)
    unread = model.unreadable(texts) if isinstance(model, ReadingModel) else []
    kept = [row for row, owner in enumerate(owners) if split[owner].id not in failed] if failed else None
    return EmbeddedRecords(
        records=tuple(record for record in split if record.id not in failed),
        vectors=result.vectors if kept is None else result.vectors[kept],
        failed=failed,
        embedded=result.embedded,
        from_ledger=result.from_ledger,
        truncated=tuple(dict.fromkeys(split[owners[row]].id for row in result.truncated)),
        unread=tuple(split[row].id for row in unread if split[row].id not in failed),
    )


def record_vectors(records: Sequence[Record], vectors: Matrix) -> Matrix:
    """One vector a record: the unit mean of its passages' vectors.

    Args:
        records: with ``spans``.
        vectors: ``(spans of all records, dimensions)``, record by record.

    Returns:
        ``(len(records), dimensions)`` unit rows.
    """
    return unit_means(vectors, [len(record.spans) for record in records])


def unit_means(vectors: Matrix, counts: Sequence[int]) -> Matrix:
    """The unit mean of the first ``counts[0]`` rows, of the next ``counts[1]``, and so on; no count is 0."""
    if all(count == 1 for count in counts):
        return vectors
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)
    return np.ascontiguousarray(normalize(sums), dtype=np.float32)


def _in_records(progress: Progress | None, owners: Sequence[int], total: int) -> Progress | None:
    """Turn progress over passages into progress over records."""
    if progress is None:
        return None

    def passages_done(done: int, _: int | None) -> None:
        progress(total if done >= len(owners) else owners[done], total)

    return passages_done
