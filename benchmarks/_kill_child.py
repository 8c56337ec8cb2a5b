"""The process that kill.py kills: indexes records and says on stdout what is safely stored."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from textkin.text.digest import text_digest
from textkin.types import Embedded, Model, ModelInfo, Progress, Record, Role


class CountedModel:
    """A model that writes down what it is asked for before it answers, and says when it has answered.

    Args:
        model: what answers.
        log: one line an order: this process's name, then digests of the texts.
    """

    def __init__(self, model: Model, log: Path) -> None:
        self._model = model
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        digests = [text_digest(text).hex()[:16] for text in texts]
        os.write(self._log, (" ".join([str(os.getpid()), *digests]) + "\n").encode("ascii"))
        answer = self._model.embed(texts, role, progress)
        tell("embedded")
        return answer

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        return self._model.count_tokens(texts, role)


def read_records(path: Path) -> Iterator[Record]:
    """Records as kill.py wrote them: JSON lines of id, text and metadata."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            row: dict[str, Any] = json.loads(line)
            yield Record(
                row["id"], row["text"], {key: row[key] for key in row if key not in ("id", "text")}, "set"
            )


def tell(mark: str, ids: Sequence[str] = ()) -> None:
    """One whole line, written at once."""
    os.write(1, (json.dumps([mark, *ids]) + "\n").encode("utf-8"))


def main() -> None:
    place, model, records, log = sys.argv[1:]
    import textkin

    loaded = CountedModel(textkin.load_model(model).unwrap(), Path(log))
    tell("opening")
    with textkin.Collection(place, loaded) as collection:
        tell("indexing")
        collection.index(read_records(Path(records)), sources=["set"], on_stored=lambda ids: tell("stored", ids))
    tell("done")


if __name__ == "__main__":
    main()
