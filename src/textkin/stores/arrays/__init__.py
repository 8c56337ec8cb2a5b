"""A collection in an .npy and a .json: numbers that any NumPy opens, records that any JSON reader opens."""

from __future__ import annotations

from textkin.stores.arrays.store import ArrayStore

__all__ = ["ArrayStore"]
