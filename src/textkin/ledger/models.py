"""The SQL of the ledger: models that were introduced, found by fingerprint and by their canaries."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import apsw
import numpy as np

from textkin.types import Matrix, ModelInfo
from textkin.vectors.similarity import normalize


def remember(connection: apsw.Connection, info: ModelInfo, canaries: Matrix) -> None:
    """Keep a model's facts and canary vectors, in the place of those it had."""
    rows = np.ascontiguousarray(canaries, dtype="<f4")
    facts = json.dumps(dataclasses.asdict(info), default=dict)
    connection.execute(
        "INSERT INTO models VALUES (?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET "
        "name = excluded.name, dimensions = excluded.dimensions, info = excluded.info, "
        "canaries = excluded.canaries",
        (info.fingerprint, info.name, info.dimensions, facts, rows.tobytes()),
    )


def known(connection: apsw.Connection, fingerprint: str) -> bool:
    """Whether this model was introduced."""
    row = connection.execute("SELECT 1 FROM models WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return row is not None


def canaries(connection: apsw.Connection, fingerprint: str) -> Matrix | None:
    """As `Ledger.canaries`."""
    row: Any = connection.execute(
        "SELECT dimensions, canaries FROM models WHERE fingerprint = ?", (fingerprint,)
    ).fetchone()
    if row is None or row[1] is None:
        return None
    return np.frombuffer(row[1], dtype="<f4").reshape(-1, int(row[0]))


def everyone(connection: apsw.Connection) -> list[ModelInfo]:
    """All models, by name."""
    rows = connection.execute("SELECT info FROM models ORDER BY name, fingerprint").fetchall()
    return [ModelInfo(**json.loads(str(row[0]))) for row in rows]


def nearest(connection: apsw.Connection, canaries: Matrix, tolerance: float, kind: str | None) -> str | None:
    """As `Ledger.known_by_canaries`."""
    given = normalize(np.asarray(canaries, dtype=np.float64))
    candidates: list[Any] = connection.execute(
        "SELECT fingerprint, canaries FROM models WHERE dimensions = ? "
        "AND (? IS NULL OR json_extract(info, '$.details.kind') IS ?) ORDER BY fingerprint",
        (given.shape[1], kind, kind),
    ).fetchall()
    best: tuple[float, str] | None = None
    for fingerprint, data in candidates:
        rows = normalize(np.frombuffer(data, dtype="<f4").reshape(-1, given.shape[1]).astype(np.float64))
        if rows.shape == given.shape:
            both_zero = ~rows.any(axis=1) & ~given.any(axis=1)
            worst = float(np.where(both_zero, 1.0, (rows * given).sum(axis=1)).min())
            if worst >= 1 - tolerance and (best is None or worst > best[0]):
                best = (worst, str(fingerprint))
    return None if best is None else best[1]
