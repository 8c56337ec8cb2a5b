"""Canaries drawn from a collection's own texts: models that only their vectors tell are held to these, too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from textkin.errors import ModelMismatchError, RecordNotFoundError
from textkin.ledger import Ledger, embed
from textkin.models.fingerprint import TOLERANCE, widest
from textkin.text.digest import record_digest
from textkin.types import Matrix, Model, Record, Store

_MOST: Final = 16
_IDS: Final = 10_000
_RECORDS: Final = 256
_TRIES: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class OwnCanaries:
    """Some passages of a collection.

    Attributes:
        ids: of the record of each.
        texts: of each.
        vectors: as they are stored.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Matrix

    @classmethod
    def of(cls, store: Store) -> OwnCanaries | None:
        """Sixteen passages at most, with as many different words as can be had; None where there is none.

        They are chosen from 256 records, evenly over the first 10,000; the same collection gives the same ones.
        What another process deletes or replaces meanwhile is left out.
        """
        for _ in range(_TRIES):
            ids = list(islice(store.ids(), _IDS))
            if not ids:
                return None
            records = store.get(ids[:: max(1, -(-len(ids) // _RECORDS))])
            with suppress(RecordNotFoundError):
                kept = _unchanged(store, records, store.vectors([record.id for record in records]))
                owners = [record.id for record, _ in kept for _ in record.spans]
                texts = [record.text[span.start : span.end] for record, _ in kept for span in record.spans]
                if texts:
                    return cls.among(owners, texts, np.concatenate([rows for _, rows in kept]))
        return None

    @classmethod
    def among(cls, ids: Sequence[str], texts: Sequence[str], vectors: Matrix) -> OwnCanaries:
        """Sixteen of these at most."""
        rows = widest(texts, _MOST)
        return cls([ids[row] for row in rows], [texts[row] for row in rows], vectors[rows])

    def refuse_other(self, model: Model, place: str, ledger: Ledger | None = None) -> None:
        """Refuse a model that gives other vectors for these.

        Args:
            model: asked for them anew.
            place: the collection, for the message.
            ledger: where the vectors of a model that is paid for are looked up and kept; None always asks.

        Raises:
            ModelMismatchError: naming the record that differs most.
        """
        if model.info.dimensions != self.vectors.shape[1]:
            raise ModelMismatchError(
                f"{model.info.name} gives vectors of {model.info.dimensions} dimensions; those in {place} have "
                f"{self.vectors.shape[1]}. Use the model that made them, or index the texts into a new collection"
            )
        result = embed(model, self.texts, "document", ledger)
        rows = [row for row in range(len(self.texts)) if row not in result.failed]
        cosines = np.einsum(
            "ij,ij->i", self.vectors[rows].astype(np.float64), result.vectors[rows].astype(np.float64)
        )
        other = int((cosines < 1 - TOLERANCE).sum())
        if other:
            worst = int(cosines.argmin())
            raise ModelMismatchError(
                f"{model.info.name} did not make the vectors in {place}, or was changed since: of {len(rows)} of "
                f"its texts that were embedded again, {other} got other vectors (the worst is that of record "
                f"{self.ids[rows[worst]]!r}, cosine {cosines[worst]:.4f}), though the canary texts agree. Use the "
                "model that made them, or index the texts into a new collection"
            )


def _unchanged(store: Store, records: Sequence[Record], blocks: Sequence[Matrix]) -> list[tuple[Record, Matrix]]:
    """The records that are still what they were after their vectors were read, with these."""
    digests = store.digests([record.id for record in records])
    pairs = zip(records, blocks, strict=True)
    return [(record, rows) for record, rows in pairs if digests.get(record.id) == record_digest(record)]
