"""Stores over vector databases that keep points: a key, a vector, a payload."""

from textkin.stores.points.backend import Point, Points
from textkin.stores.points.store import PointStore

__all__ = ["Point", "PointStore", "Points"]
