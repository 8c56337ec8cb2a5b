"""Texts before any model: read, convert, split, digest."""
