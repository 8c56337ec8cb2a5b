"""The process whose power is cut: changes a collection step by step, and says what each step has made.

Runs inside `_sweep_process`'s server. What it says goes into the record of its calls: what must be there from now.
"""

from __future__ import annotations

import ctypes
import json
import sys

import textkin
from _sweep_cases import rows

_STEPS = 3


def main() -> None:
    place = sys.argv[1]
    say = ctypes.CDLL(None).sweep_mark
    with textkin.Collection(place, "hashing:64") as notes:

        def done() -> None:
            there = {hit.id: hit.text for hit in notes.records()}
            say(json.dumps(there).encode())

        for step in range(_STEPS):
            given = rows(6, step * 6)
            notes.add([str(row["text"]) for row in given], ids=[str(row["id"]) for row in given])
            done()
            notes.remove([f"r{step * 6 + 1}"])
            done()
            notes.add([f"changed {step}"], ids=[f"r{step * 6}"])
            done()
        if not place.endswith(".npy"):
            report = notes.duplicates(0.8)
            notes.apply(report)
            done()
            notes.undo()
            done()


if __name__ == "__main__":
    main()
