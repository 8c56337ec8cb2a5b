"""Records and headers as the .json and the journal hold them, and back without trust."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textkin.errors import CorruptStoreError, ForeignFileError, InputError
from textkin.stores.checks import checked_records
from textkin.stores.headers import header_from_json, header_json
from textkin.text.digest import well_formed
from textkin.types import ModelInfo, Record, Span, StoreHeader
from textkin.vectors.description import COLLECTION_FORMAT


def record_facts(record: Record) -> dict[str, Any]:
    """A record as a JSON object."""
    return {
        "id": record.id,
        "text": record.text,
        "metadata": dict(record.metadata),
        "source": record.source,
        "spans": [[span.start, span.end] for span in record.spans],
    }


def record_from(facts: Mapping[str, Any]) -> Record:
    """What `record_facts` gave; not checked further.

    Raises:
        KeyError, TypeError, ValueError: something else.
    """
    spans = tuple(Span(start, end) for start, end in facts["spans"])
    return Record(facts["id"], facts["text"], dict(facts.get("metadata") or {}), facts.get("source"), spans)


def header_facts(header: StoreHeader) -> Any:
    """A header as a JSON object."""
    return json.loads(header_json(header))


def header_of(facts: object, place: str) -> StoreHeader:
    """What `header_facts` gave.

    Raises:
        CorruptStoreError: something else.
    """
    return header_from_json(json.dumps(facts), place)


def understood(facts: Mapping[str, Any], place: str) -> tuple[StoreHeader, list[Record]]:
    """The model and the records of a description, of either format.

    Args:
        facts: from `textkin.vectors.description.parse_description`.
        place: the .json, for messages.

    Raises:
        ForeignFileError: vectors without texts, or of a model that is not known.
        CorruptStoreError: a record that no store would have kept, or a damaged header.
    """
    if facts["format"] == COLLECTION_FORMAT:
        header = header_of(facts.get("header"), place)
    else:
        header = _plain_header(facts, place)
    try:
        records = (
            [record_from(item) for item in facts["records"]]
            if facts["format"] == COLLECTION_FORMAT
            else _plain_records(facts, place)
        )
        checked_records(records)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise CorruptStoreError(
            f"{place} is damaged, or another program changed it: {error}. Restore it from a backup, or index the "
            "texts into a new file"
        ) from error
    if facts["dimension"] != header.model.dimensions:
        raise CorruptStoreError(
            f"{place} contradicts itself: vectors of {facts['dimension']} numbers, and a model that makes "
            f"{header.model.dimensions}; restore it from a backup"
        )
    return header, records


def checked_upsert(items: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Records from the journal.

    Raises:
        InputError, KeyError, TypeError, ValueError: something else.
    """
    records = [record_from(item) for item in items]
    checked_records(records)
    return records


def _plain_header(facts: Mapping[str, Any], place: str) -> StoreHeader:
    name, fingerprint = facts.get("model"), facts.get("fingerprint")
    if name is None or fingerprint is None:
        raise ForeignFileError(
            f"{place} doesn't say which model made the vectors, so nothing can be compared with them; embed the "
            "texts again (textkin embed), or save the vectors with model=model.info"
        )
    known = facts.get("model_info")
    try:
        model = (
            ModelInfo(name, facts["dimension"], None, fingerprint) if known is None else ModelInfo(**dict(known))
        )
    except (TypeError, ValueError) as error:
        raise CorruptStoreError(
            f"{place}: 'model_info' can't be read ({error}); restore it from a backup"
        ) from error
    if (model.name, model.fingerprint) != (name, fingerprint):
        raise CorruptStoreError(f"{place} names two models, {name} and {model.name}; restore it from a backup")
    # No canaries were kept: only a model with this very fingerprint will do.
    return StoreHeader(model, np.zeros((0, facts["dimension"]), dtype=np.float32))


def _plain_records(facts: Mapping[str, Any], place: str) -> list[Record]:
    texts = facts.get("texts")
    if texts is None:
        raise ForeignFileError(
            f"{place} holds no texts, and a collection needs the text of every row; write the vectors again with "
            "save_vectors(..., texts=texts)"
        )
    ids = facts.get("ids") or [str(row) for row in range(len(texts))]
    whole = [well_formed(text) for text in texts]
    return [
        Record(well_formed(name), text, {}, None, (Span(0, len(text)),))
        for name, text in zip(ids, whole, strict=True)
    ]
