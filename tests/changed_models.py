"""Copies of a tiny model that differ from it in what no canary text touches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

TINY = Path(__file__).parent / "golden" / "tiny" / "bert_mean"
WORDS = "embeddings.word_embeddings.weight"


def copy_of(target: Path, source: Path = TINY) -> Path:
    """An unchanged copy."""
    return Path(shutil.copytree(source, target))


def exchanged_words(folder: Path) -> None:
    """Two ordinary words change their numbers."""
    _vocabulary(folder, {"said": "word", "word": "said"})


def renamed_word(folder: Path) -> None:
    """A token that no text used becomes a word of some trade."""
    _vocabulary(folder, {"ส": "kubernetes"})


def changed_rows(folder: Path) -> None:
    """Some rows of the word embeddings are reversed."""

    def change(tensors: dict[str, Any]) -> None:
        rows = _vocabulary_of(folder)
        for word in ("said", "word", "some", "for", "us"):
            tensors[WORDS][rows[word]] = tensors[WORDS][rows[word]][::-1]

    change_weights(folder, change)


CHANGES: tuple[Callable[[Path], None], ...] = (exchanged_words, renamed_word, changed_rows)


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the weights anew, over the same file."""
    file = folder / "model.safetensors"
    tensors = {name: np.array(array) for name, array in load_file(file).items()}
    change(tensors)
    other = folder / "other.tmp"
    save_file(tensors, other)
    with file.open("r+b") as target:  # the same inode: a process that maps the file sees it
        target.write(other.read_bytes())
        target.truncate()
    other.unlink()


def _vocabulary_of(folder: Path) -> dict[str, int]:
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = told["model"]["vocab"]
    return vocabulary


def _vocabulary(folder: Path, names: dict[str, str]) -> None:
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    told["model"]["vocab"] = {names.get(word, word): number for word, number in told["model"]["vocab"].items()}
    file.write_text(json.dumps(told), encoding="utf-8")
