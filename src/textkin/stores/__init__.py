"""Vectors to disk and back. Knows nothing of models."""
