"""The SQL of the ledger: models that were introduced, found by fingerprint and by their canaries."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import apsw
import numpy as np

from textkin.errors import CorruptStoreError
from textkin.ledger.schema import LEDGER, model_checksum
from textkin.stores.local.checksums import agree
from textkin.types import Matrix, ModelInfo
from textkin.vectors.similarity import normalize


def remember(connection: apsw.Connection, info: ModelInfo, canaries: Matrix) -> None:
    """Keep a model's facts and canary vectors, in the place of those it had."""
    rows = np.ascontiguousarray(canaries, dtype="<f4")
    facts = json.dumps(dataclasses.asdict(info), default=dict)
    values = (info.fingerprint, info.name, info.dimensions, facts, rows.tobytes())
    connection.execute(
        "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET "
        "name = excluded.name, dimensions = excluded.dimensions, info = excluded.info, "
        "canaries = excluded.canaries, checksum = excluded.checksum",
        (*values, model_checksum(*values)),
    )


def known(connection: apsw.Connection, fingerprint: str) -> bool:
    """Whether this model was introduced."""
    row = connection.execute("SELECT 1 FROM models WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return row is not None


def canaries(connection: apsw.Connection, fingerprint: str) -> Matrix | None:
    """The canary vectors of a model that was introduced; None for any other."""
    found = _rows(connection, "fingerprint = ? AND canaries IS NOT NULL", (fingerprint,))
    return None if not found else np.frombuffer(found[0][4], dtype="<f4").reshape(-1, found[0][2])


def everyone(connection: apsw.Connection) -> list[ModelInfo]:
    """All models, by name."""
    rows = sorted(_rows(connection, "1", ()), key=lambda row: (row[1], row[0]))
    return [ModelInfo(**json.loads(row[3])) for row in rows]


def nearest(connection: apsw.Connection, canaries: Matrix, tolerance: float, kind: str | None) -> str | None:
    """As `Ledger.known_by_canaries`."""
    given = normalize(np.asarray(canaries, dtype=np.float64))
    candidates = _rows(
        connection,
        "dimensions = ? AND (? IS NULL OR json_extract(info, '$.details.kind') IS ?)",
        (given.shape[1], kind, kind),
    )
    best: tuple[float, str] | None = None
    for fingerprint, _, _, _, data, _ in candidates:
        rows = normalize(np.frombuffer(data, dtype="<f4").reshape(-1, given.shape[1]).astype(np.float64))
        if rows.shape == given.shape:
            both_zero = ~rows.any(axis=1) & ~given.any(axis=1)
            worst = float(np.where(both_zero, 1.0, (rows * given).sum(axis=1)).min())
            if worst >= 1 - tolerance and (best is None or worst > best[0]):
                best = (worst, str(fingerprint))
    return None if best is None else best[1]


def _rows(connection: apsw.Connection, condition: str, parameters: tuple[Any, ...]) -> list[Any]:
    """The models that satisfy a condition, each as it was written, by fingerprint."""
    rows = connection.execute(
        "SELECT fingerprint, name, dimensions, info, canaries, checksum FROM models "
        f"WHERE {condition} ORDER BY fingerprint",
        parameters,
    ).fetchall()
    for row in rows:
        if not agree([row[5]], [model_checksum(*row[:5])]):
            raise CorruptStoreError(
                f"{connection.filename} is damaged: what is known of the model {row[1]} differs from its "
                f"checksum. {LEDGER.cure}"
            )
    return rows
