"""Embed once: what was embedded, by which model, and the one function that asks the ledger before the model."""

from __future__ import annotations

from textkin.ledger.budgeting import known_canaries
from textkin.ledger.database import Ledger, LedgerUse, ledger_if_there
from textkin.ledger.embedding import LedgerResult, embed
from textkin.ledger.entries import Remembered

__all__ = ["Ledger", "LedgerResult", "LedgerUse", "Remembered", "embed", "known_canaries", "ledger_if_there"]
