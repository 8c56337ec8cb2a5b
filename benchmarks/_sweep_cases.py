"""The commands that are broken, each with what lies there before it and what is looked at after it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _sweep_checks import WIDTH, Watched
from textkin.models.weights.cache import RECORD_NAME, ModelRecord
from textkin.models.weights.files import file_digest

_MODEL = ("--model", f"hashing:{WIDTH}")
_COLUMNS = ("--id-column", "id", "--text-column", "text")
_WORDS = (
    *("refund", "order", "table", "parse", "thread", "lock", "socket"),
    *("query", "vector", "cell", "gene", "season", "match", "player"),
)
_ROWS = 48
_N = "n.kin"
_BUNDLED = "bundle:tiny@1815f92911d8"
"""The name of its own that a bundle of `_bundle`'s files is installed under."""
Command = tuple[str, ...]
Setup = Command | Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One command.

    Attributes:
        name: how it is reported.
        command: textkin's arguments, in the run's folder.
        before: commands, and functions that write files into the folder, in order.
        watched: what is looked at.
        again: how it is run again; by default the same command.
        had_done: exit codes of running it again that mean that it had done its work, or a part of it, already.
        needs: packages that must be installed.
        preload: modules that the server imports for it.
        sockets: orders to a server are broken too.
        weight: its share of all runs, beside the number of its calls.
        interrupt: the last command of `before` is killed at the middle call.
    """

    name: str
    command: Command
    before: tuple[Setup, ...] = ()
    watched: Watched = Watched()  # noqa: RUF009  frozen
    again: Command | None = None
    had_done: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    sockets: bool = False
    weight: float = 1.0
    interrupt: bool = False


def rows(count: int = _ROWS, first: int = 0, changed: bool = False) -> list[dict[str, object]]:
    """Records; each sixth is nearly the same as the one before it."""
    found = []
    for number in range(first, first + count):
        base = number - 1 if number % 6 == 5 else number
        words = [_WORDS[base * step % len(_WORDS)] for step in (1, 3, 5, 7, 11)]
        text = " ".join(words) + f" {base} is about {base * base}"
        text += " now" if number % 6 == 5 else ""
        text += " changed" if changed and number % 7 == 0 else ""
        found.append({"id": f"r{number}", "text": text, "n": number})
    return found


def _written(name: str, content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")

    return write


def _table(name: str, given: Iterable[dict[str, object]]) -> Callable[[Path], None]:
    return _written(name, "".join(json.dumps(row) + "\n" for row in given))


def _texts() -> tuple[str, ...]:
    every = [*rows(), *rows(changed=True), *rows(12, _ROWS), *rows(12, _ROWS, changed=True)]
    return tuple(dict.fromkeys(str(row["text"]) for row in every))


_FIRST = _table("in.jsonl", rows())
_LATER = _table("in.jsonl", [*rows(changed=True)[4:], *rows(8, _ROWS)])
_INDEX: Command = ("index", "in.jsonl", "--to", _N, *_MODEL, *_COLUMNS)
_MADE: tuple[Setup, ...] = (_FIRST, _INDEX)
_ONE = Watched((_N,), texts=_texts())
_WHOLE = Watched((_N,), texts=_texts(), atomic=True)
_EMBED: Command = ("embed", "in.jsonl", *_MODEL, *_COLUMNS)
_JOB: Command = (*_EMBED, "-o", "out/", "--shard-rows", "8", "--column", "n")


def _bundle(folder: Path) -> None:
    """A bundle of a model that nobody pins; the files say enough to be installed, not to be run."""
    files = {
        "config.json": json.dumps({"model_type": "bert", "hidden_size": 8}).encode(),
        "tokenizer.json": b'{"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}}',
        "model.safetensors": bytes(range(256)) * 40,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digests = {name: file_digest(folder / name, name) for name in files}
    commit = "0123456789abcdef0123456789abcdef01234567"
    record = ModelRecord("sweep/tiny", "sweep/tiny", commit, "main", digests)
    with zipfile.ZipFile(folder / "tiny.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(RECORD_NAME, record.to_json())
        for name in files:
            archive.write(folder / name, f"model/{name}")


def _collection_cases() -> Iterator[Case]:
    yield Case("index, new", _INDEX, (_FIRST,), _ONE)
    yield Case("index again", _INDEX, (*_MADE, _LATER), _ONE)
    documents = tuple(
        _written(f"docs/{n}.md", f"# {_WORDS[n]}\n\nOf {_WORDS[n + 1]} and {n}.\n") for n in range(8)
    )
    yield Case("index a folder", ("index", "docs", "--to", _N, *_MODEL), documents, Watched((_N,)))
    yield Case(
        "index, .npy", ("index", "in.jsonl", "--to", "v.npy", *_MODEL, *_COLUMNS), (_FIRST,), Watched(("v.npy",))
    )
    into = ("index", "in.jsonl", "--to", "v.npy", *_MODEL, *_COLUMNS)
    yield Case("index again, .npy", into, (_FIRST, into, _LATER), Watched(("v.npy",)))
    add: Command = ("add", _N, "one more text", "and another", "--id", "m1", "--id", "m2", "--meta", "n=7")
    yield Case("add", add, _MADE, _WHOLE)
    yield Case("add, new", (*add, *_MODEL), (), Watched((_N,)))
    yield Case("add, .npy", (add[0], "v.npy", *add[2:]), (_FIRST, into), Watched(("v.npy",), atomic=True))
    yield Case("remove ids", ("remove", _N, "r1", "r2", "r30"), _MADE, _WHOLE, had_done=(3,))
    yield Case("remove --where", ("remove", _N, "--where", "n < 9", "--yes"), _MADE, _WHOLE, had_done=(3,))
    yield Case("remove --source", ("remove", _N, "--source", "in.jsonl", "--yes"), _MADE, _WHOLE, had_done=(2, 3))
    yield Case(
        "remove ids, .npy",
        ("remove", "v.npy", "r1", "r2"),
        (_FIRST, into),
        Watched(("v.npy",), atomic=True),
        had_done=(3,),
    )


def _duplicate_cases() -> Iterator[Case]:
    apply: Command = ("duplicates", _N, "--threshold", "0.8", "--apply")
    undo: Command = ("duplicates", _N, "--undo")
    files = Watched(outputs=("kept.jsonl", "audit.jsonl", "d.svg"), texts=_texts())
    command: Command = ("duplicates", "in.jsonl", *_MODEL, *_COLUMNS, "--threshold", "0.8", "-o", "kept.jsonl")
    command += ("--audit", "audit.jsonl", "--plot", "d.svg")
    old = tuple(_written(name, f"old {name}\n") for name in files.outputs)
    yield Case("duplicates", ("duplicates", _N, "--threshold", "0.8"), _MADE, _WHOLE)
    yield Case("duplicates --apply", apply, _MADE, _WHOLE)
    yield Case("duplicates --undo", undo, (*_MADE, apply), _WHOLE, had_done=(2, 3, 8))
    yield Case(
        "duplicates --forget-undo",
        ("duplicates", _N, "--forget-undo"),
        (*_MADE, apply),
        _WHOLE,
        had_done=(2, 3, 8),
    )
    yield Case("duplicates FILE -o --audit", command, (_FIRST, *old), files)
    yield Case(
        "duplicates OUT -o",
        ("duplicates", "out", "--threshold", "0.8", "-o", "k.parquet"),
        (_FIRST, _JOB),
        Watched(outputs=("k.parquet",), jobs=("out",)),
    )
    yield Case(
        "duplicates --against",
        ("duplicates", "in.jsonl", *_COLUMNS, "--against", _N, "-o", "new.jsonl"),
        (*_MADE, _LATER),
        Watched((_N,), ("new.jsonl",)),
    )
    yield Case(
        "calibrate --plot",
        ("calibrate", _N, "--copies", "8", "--plot", "c.svg"),
        _MADE,
        Watched((_N,), ("c.svg",), atomic=True),
    )


def _bulk_cases() -> Iterator[Case]:
    job = Watched(jobs=("out",), texts=_texts())
    resume: Command = (*_JOB, "--resume")
    numbers: Command = (*_EMBED, "-o", "e.npy")
    yield Case("embed -o OUT", _JOB, (_FIRST,), job, again=resume)
    yield Case("embed --resume", resume, (_FIRST, _JOB), job, interrupt=True)
    yield Case("embed -o OUT, input changed", resume, (_FIRST, _JOB, _LATER), job)
    pair = Watched(outputs=("e.npy",), texts=_texts())
    yield Case("embed -o .npy", numbers, (_FIRST,), pair)
    yield Case("embed -o .npy over another", numbers, (_FIRST, numbers, _LATER), pair)
    yield Case(
        "embed --to folder", (*_EMBED, "--to", _N), (_FIRST,), _ONE, again=(*_EMBED, "--to", _N, "--resume")
    )


def _copy_cases() -> Iterator[Case]:
    for target in ("m.kin", "v.npy", "chroma:db", "lancedb:db", "qdrant:db"):
        kind = target.partition(":")[0]
        needs: tuple[str, ...] = ()
        preload: tuple[str, ...] = ()
        if ":" in target:
            needs = ({"qdrant": "qdrant_client", "chroma": "chromadb"}.get(kind, kind),)
            preload = needs if kind != "lancedb" else ()
        weight = {"chroma": 0.35, "qdrant": 0.3, "lancedb": 0.12}.get(kind, 1.0)
        both = Watched((_N, target), texts=_texts())
        yield Case(
            f"export {kind}", ("export", _N, target), _MADE, both, needs=needs, preload=preload, weight=weight
        )
        there: tuple[Setup, ...] = (*_MADE, ("export", _N, target))
        taken = Watched((target, "i.kin"))
        yield Case(
            f"import {kind}",
            ("import", target, "i.kin"),
            there,
            taken,
            needs=needs,
            preload=preload,
            weight=weight,
        )
        if needs:
            index: Command = ("index", "in.jsonl", "--to", target, *_MODEL, *_COLUMNS)
            yield Case(
                f"index again, {kind}",
                index,
                (_FIRST, index, _LATER),
                Watched((target,)),
                needs=needs,
                preload=preload,
                weight=weight,
            )
            gone: Command = ("remove", target, "r1", "r2")
            yield Case(
                f"remove, {kind}",
                gone,
                (_FIRST, index),
                Watched((target,)),
                had_done=(3,),
                needs=needs,
                preload=preload,
                weight=weight / 2,
            )
    yield Case("import OUT", ("import", "out", "i.kin"), (_FIRST, _JOB), Watched(("i.kin",), jobs=("out",)))
    merged: tuple[Setup, ...] = (*_MADE, ("export", _N, "m.kin"), _LATER, _INDEX)
    yield Case("export --merge", ("export", _N, "m.kin", "--merge"), merged, Watched((_N, "m.kin")))


def _other_cases() -> Iterator[Case]:
    yield Case("ledger limit", ("ledger", "limit", "12KB"), _MADE, _ONE)
    yield Case("ledger prune", ("ledger", "prune", "--all"), _MADE, _ONE)
    yield Case(
        "ledger prune --model", ("ledger", "prune", "--model", f"hashing:{WIDTH}"), _MADE, _ONE, had_done=(2, 3)
    )
    yield Case("models install", ("models", "install", "tiny.zip"), (_bundle,))
    bundled = Watched(outputs=("again.zip",))
    yield Case(
        "models bundle",
        ("models", "bundle", _BUNDLED, "-o", "again.zip"),
        (_bundle, ("models", "install", "tiny.zip")),
        bundled,
    )
    yield Case("models verify", ("models", "verify", _BUNDLED), (_bundle, ("models", "install", "tiny.zip")))
    for name, more in {
        "search": ("refund order", "--json"),
        "similar": ("r3",),
        "list": (),
        "show": ("r3",),
        "info": (),
        "clusters": ("--json",),
        "outliers": (),
        "doctor": (),
    }.items():
        command: Command = (name, *more) if name == "doctor" else (name, _N, *more)
        yield Case(name, (*command, _N) if name == "doctor" else command, _MADE, _WHOLE, weight=0.5)
    yield Case("plan", ("plan", "in.jsonl", *_MODEL, *_COLUMNS), (_FIRST,), weight=0.5)
    yield Case("jobs", ("jobs",), (_FIRST, _JOB), Watched(jobs=("out",)), weight=0.5)


def all_cases() -> list[Case]:
    """Every command that needs no server."""
    return [*_collection_cases(), *_duplicate_cases(), *_bulk_cases(), *_copy_cases(), *_other_cases()]


def server_cases(url: str) -> Iterator[Case]:
    """Exports to and imports from a PostgreSQL; ``{run}`` in a place becomes the number of the run."""
    target = f"{url}?collection=run{{run}}"
    both = Watched((_N, target))
    needs = ("psycopg", "pgvector")
    yield Case(
        "export postgresql", ("export", _N, target), _MADE, both, needs=needs, preload=("psycopg",), sockets=True
    )
    there: tuple[Setup, ...] = (*_MADE, ("export", _N, f"{url}?collection=kept"))
    taken = Watched((f"{url}?collection=kept", "i.kin"))
    yield Case(
        "import postgresql",
        ("import", f"{url}?collection=kept", "i.kin"),
        there,
        taken,
        needs=needs,
        preload=("psycopg",),
        sockets=True,
    )
