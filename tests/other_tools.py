"""What another tool would have left behind: its model, its texts with their vectors, its files and databases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("red", "green", "blue", "cat", "dog", "house", "river", "stone", "bread", "salt", "north", "south")
WIDTH = 64


class Encoder:
    """A model that another tool might have used: vectors of any length, different for different texts."""

    def __init__(self, seed: int = 0, scale: float = 3.0) -> None:
        self.seed = seed
        self.scale = scale
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        rows = [np.sum([self._word(word) for word in text.split()] or [self._word("")], axis=0) for text in texts]
        return (self.scale * np.array(rows)).astype(np.float32)

    def _word(self, word: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.seed} {word}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(size=WIDTH)


def texts(count: int) -> list[str]:
    """Different texts of seven words."""
    rng = np.random.default_rng(7)
    return [f"{number} " + " ".join(rng.choice(WORDS, size=6)) for number in range(count)]


def content(count: int) -> tuple[list[str], list[str], list[dict[str, Any]], np.ndarray]:
    """Ids, texts (the second equal to the first), metadata and vectors."""
    ids = [f"id{number:04d}" for number in range(count)]
    words = texts(count)
    words[1] = words[0]  # a duplicate
    metadata = [{"year": 2000 + number % 20, "lang": "en" if number % 3 else "fr"} for number in range(count)]
    return ids, words, metadata, Encoder().encode(words)


def chroma_client(folder: Path) -> Any:
    """Chroma's own client over a folder."""
    import chromadb

    return chromadb.PersistentClient(
        path=str(folder), settings=chromadb.config.Settings(anonymized_telemetry=False)
    )


def save_npy(folder: Path, vectors: np.ndarray, lines: Sequence[str]) -> Path:
    """``vectors.npy`` with its texts, a line each, in ``vectors.txt``."""
    np.save(folder / "vectors.npy", vectors)
    (folder / "vectors.txt").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder / "vectors.npy"
