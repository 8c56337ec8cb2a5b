"""The embedded store: one folder, SQLite for the truth, a memory-mapped matrix for exact search."""

from __future__ import annotations

from textkin.stores.local.store import LocalStore

__all__ = ["LocalStore"]
