"""What the bulk job is tried on: rows with a few bad ones, in another order, with more; and how it is run."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from _common import environment_with
from _texts import NoDataError, short_texts
from textkin.text.digest import text_digest

Trap = dict[str, str | int]
"""What the hook is told to break, see _bulk_hook/sitecustomize.py."""

_WORDS = (
    "refund",
    "order",
    "table",
    "parse",
    "thread",
    "lock",
    "socket",
    "query",
    "vector",
    "cell",
    "gene",
    "season",
)
_BAD = ('"text": null', '"text": 17', '"texts": "nothing under the right name"')
HOOK = Path(__file__).with_name("_bulk_hook")


@dataclass(frozen=True, slots=True)
class Way:
    """How the command is called.

    Attributes:
        model: its name.
        shard_rows: rows of a shard.
        more: other options, such as the engine.
    """

    model: str
    shard_rows: int
    more: tuple[str, ...] = ()

    def command(self, source: Path, out: Path, *more: str) -> list[str]:
        command = [sys.executable, "-m", "textkin", "embed", str(source), "-o", f"{out}/", "--model", self.model]
        command += ["--id-column", "id", "--text-column", "text", "--column", "number", "--column", "kind"]
        return [*command, "--shard-rows", str(self.shard_rows), *self.more, *more]


@dataclass(slots=True)
class Place:
    """Where one job lives: output, ledger, and what was written down about it."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def data(self) -> Path:
        """The ledger's folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "asked.log"

    def environment(self, trap: Trap | None = None) -> dict[str, str]:
        """What a process of this job gets: its own ledger, and the hook that watches it."""
        path = os.pathsep.join(part for part in (str(HOOK), os.environ.get("PYTHONPATH")) if part)
        more = {"TEXTKIN_DATA": str(self.data), "TEXTKIN_WATCH_LOG": str(self.log), "PYTHONPATH": path}
        if trap is not None:
            more["TEXTKIN_WATCH_TRAP"] = json.dumps(trap)
        return environment_with(more)


def repeated(rows: Iterable[bytes]) -> set[str]:
    """Digests of the texts that come more than once, as the hook writes them."""
    texts = Counter(json.loads(row).get("text") for row in rows)
    return {text_digest(text).hex()[:16] for text, count in texts.items() if count > 1 and isinstance(text, str)}


def lines(count: int, data: Path | None, seed: int = 1, first: int = 0) -> list[bytes]:
    """JSON lines: an id, a text, two columns. One in fifty has a text that came before, one in 200 is bad."""
    chance = random.Random(seed)
    rows: list[bytes] = []
    texts: list[str] = []
    for number, text in zip(range(first, first + count), _texts(count, data, first), strict=True):
        texts.append(chance.choice(texts) if number % 50 == 49 and texts else text)
        row = f'"id": "t{number}", "number": {number}, "kind": {json.dumps(_WORDS[number % 7])}'
        if number % 200 == 131:
            bad = _BAD[number // 200 % len(_BAD)]
            rows.append(f"{{{row}, {bad}}}\n".encode())
        else:
            rows.append(f"{{{row}, {json.dumps({'text': texts[-1]})[1:-1]}}}\n".encode())
    return rows


def _texts(count: int, data: Path | None, first: int) -> Iterator[str]:
    """Different texts, each with its number; real ones where the data folder has them."""
    chance = random.Random(first)
    try:
        real = short_texts(data, first + count) if data is not None else []
    except (NoDataError, FileNotFoundError):
        real = []
    for number in range(first, first + count):
        words = real[number] if number < len(real) else " ".join(chance.choices(_WORDS, k=chance.randint(3, 25)))
        yield f"{words} {number}"


def variants(rows: Sequence[bytes], more: Sequence[bytes]) -> list[list[bytes]]:
    """The rows; the same in another order; that with more rows in the middle and at the end."""
    third = len(rows) // 3
    turned = [*rows[third:], *rows[:third]]
    half, middle = len(more) // 2, len(rows) // 2
    return [list(rows), turned, [*turned[:middle], *more[:half], *turned[middle:], *more[half:]]]
