"""Vectors after any model: similarity, the best k, files. NumPy only."""
