"""Collections that other tools made: read, never written."""

from textkin.stores.foreign.reader import ForeignFacts, Noted, Reader, Row
from textkin.stores.foreign.store import ForeignStore

__all__ = ["ForeignFacts", "ForeignStore", "Noted", "Reader", "Row"]
