"""Real texts to measure with: from the data folder, else the documentation of this Python."""

from __future__ import annotations

import csv
import gzip
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_SEED = 20240229


class NoDataError(SystemExit):
    """A set of texts is asked for that is not at hand."""


def require_data(data: Path | None, what: str) -> Path:
    """The data folder.

    Raises:
        NoDataError: there is none.
    """
    if data is None or not Path(data).is_dir():
        given = "none is given" if data is None else f"{data} is not a folder"
        raise NoDataError(
            f"a data folder with {what} is needed, and {given}: "
            "--data DIR or TEXTKIN_BENCH_DATA (benchmarks/README.md)"
        )
    return Path(data)


def short_texts(data: Path | None, count: int) -> list[str]:
    """``count`` different one-line texts in random order: package summaries and question titles."""
    if data is None:
        return _picked((_first_sentence(text) for text in _documentation()), count)
    require_data(data, "short texts")
    half = count // 2
    titles = (row["title"] for row in read_tsv(data / "stackoverflow_titles" / "titles.tsv"))
    return _picked([*_picked(titles, half), *_picked(_summaries(data), count - half)], count)


def mixed_texts(data: Path | None, count: int) -> list[str]:
    """``count`` different texts in random order: abstracts, paragraphs and one-liners, a third each."""
    if data is None:
        return _picked(_documentation(), count)
    require_data(data, "texts of mixed length")
    third = count // 3
    abstracts = (text for _, text in scifact_documents(data))
    parts = [
        *_picked(abstracts, third),
        *_picked(_paragraphs(data), third),
        *_picked(_summaries(data), count - 2 * third),
    ]
    return _picked(parts, count)


def read_tsv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated file without quoting, by column name."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def scifact_documents(data: Path) -> Iterator[tuple[str, str]]:
    """Id and text (title, a space, abstract, as MTEB puts them together) of each SciFact abstract."""
    with gzip.open(data / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield str(row["_id"]), f"{row['title']} {row['text']}".strip()


def _summaries(data: Path) -> Iterator[str]:
    return (row["text"] for row in read_tsv(data / "pkg_summaries" / "summaries.tsv.gz"))


def _paragraphs(data: Path) -> Iterator[str]:
    with tarfile.open(data / "squad_articles" / "articles.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield from (line for line in file.read().decode("utf-8").splitlines() if len(line) > 100)


def _documentation() -> Iterator[str]:
    from textkin.text.pydocs import python_documentation

    return (record.text for record in python_documentation())


def _first_sentence(text: str) -> str:
    return text.strip().partition("\n")[0][:200]


def _picked(texts: Iterable[str], count: int) -> list[str]:
    """``count`` different texts (all, if there are fewer), the same ones in the same random order every time."""
    known = list(dict.fromkeys(text for text in texts if text.strip()))
    chance = random.Random(_SEED)
    return chance.sample(known, min(count, len(known)))


def describe(texts: Sequence[str]) -> str:
    """How many, and how long."""
    lengths = sorted(len(text) for text in texts)
    middle = lengths[len(lengths) // 2]
    return f"{len(texts):,} texts of {lengths[0]} to {lengths[-1]:,} characters (median {middle})"
