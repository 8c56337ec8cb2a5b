"""How the folder that an embedding job wrote is known, finished or not."""

from __future__ import annotations

from pathlib import Path

from textkin._outputs import JOB, MANIFEST

__all__ = ["JOB", "MANIFEST", "holds_output", "is_finished", "not_a_collection"]


def holds_output(place: str | Path) -> bool:
    """Whether a job wrote to this folder; nothing is read."""
    folder = Path(place)
    return (folder / MANIFEST).is_file() or (folder / JOB).is_file()


def is_finished(place: str | Path) -> bool:
    """Whether that job is done."""
    return (Path(place) / MANIFEST).is_file()


def not_a_collection(place: str | Path) -> str:
    """What to tell somebody who takes such a folder for a collection."""
    if not is_finished(place):
        return (
            f"{place} is the output of an embedding job that is not finished: give the same textkin embed command "
            "again with --resume"
        )
    return (
        f"{place} is the output of an embedding job, not a collection; make one of it, without embedding again: "
        f"textkin import {place} notes.kin. Its near-duplicates are found as it is: textkin duplicates {place}"
    )
