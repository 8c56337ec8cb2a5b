"""The folder that an embedding job writes: the names that everybody must know, how it is told from others."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

MANIFEST: Final = "_manifest.json"
"""There once the job is done; names the shards that belong to it."""
WORKING: Final = "_textkin"
"""A folder in it, there from the moment at which a job takes hold of it, before it reads anything."""
JOB: Final = f"{WORKING}/job.json"
"""There once the job has read as much as it must know to begin."""
FORMAT: Final = "textkin-vectors"
"""What manifest and job say they are."""

_BEGINNING = 4096


def is_output(folder: Path) -> bool:
    """Whether a job wrote to this folder; other tools write a `_manifest.json`, too, so that one is looked into.

    Raises:
        OSError: it can't be read.
    """
    if (folder / WORKING).is_dir():
        return True
    if not (folder / MANIFEST).is_file():
        return False
    with (folder / MANIFEST).open("rb") as file:
        return is_our_manifest(file)


def is_our_manifest(file: BinaryIO) -> bool:
    """Whether an open file begins like the manifest of a job."""
    return f'"{FORMAT}"'.encode() in file.read(_BEGINNING)


def not_texts(name: str) -> str:
    """What to tell somebody who gives such a folder as an input."""
    return (
        f"{name} is the output of an embedding job, not texts: its vectors are there already. Search them: "
        f"textkin import {name} notes.kin. Find near-duplicates: textkin duplicates {name}. To embed its rows "
        "anew, name the files: FOLDER/part-*.parquet in quotes"
    )
