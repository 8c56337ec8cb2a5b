"""The kinds of file that `damage.py` damages: how each is made, what is asked then, who says that it is whole."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import textkin
from textkin.cli.checks import check_collection
from textkin.errors import TextkinError
from textkin.jobs.bulk.output import VectorOutput
from textkin.ledger import Ledger
from textkin.models.graph import cache
from textkin.vectors.files import load_vectors, save_vectors

MODEL = "hashing:32"
_WORDS = (
    "refund",
    "order",
    "table",
    "parse",
    "thread",
    "lock",
    "query",
    "vector",
    "cell",
    "gene",
    "season",
    "match",
)
Question = Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        name: of the kind.
        make: fills an empty folder.
        file: of such a folder, the one that is damaged.
        questions: by name.
        healthy: whether `textkin doctor` says that nothing is damaged.
        commands: of textkin, to run in a process of their own.
        vary: changes what lies beside it, at random.
    """

    name: str
    make: Callable[[Path], object]
    file: Callable[[Path], Path]
    questions: Mapping[str, Question]
    healthy: Callable[[Path], bool]
    commands: Callable[[Path], list[list[str]]] = lambda _: []
    vary: Callable[[Path, random.Random], None] = field(default=lambda _place, _chance: None)


def texts(count: int = 60) -> list[str]:
    chance = random.Random(7)
    rows = [" ".join(chance.choices(_WORDS, k=9)) + f" é {number}" for number in range(count)]
    return [*rows[:-6], *(f"{row} again" for row in rows[:6])]


def _fill(collection: textkin.Collection, first: int = 0) -> None:
    rows = texts()[first:]
    ids = [f"record {first + number}" for number in range(len(rows))]
    collection.add(rows, ids=ids, metadata=[{"n": number, "even": number % 2 == 0} for number in range(len(rows))])


def _made(place: Path, name: str, first: int = 0) -> None:
    with textkin.Collection(place / name, MODEL, ledger=False) as collection:
        _fill(collection, first)


def _folder(place: Path) -> None:
    _made(place, "notes.kin")
    with textkin.Collection(place / "notes.kin", ledger=False) as collection:
        collection.duplicates(threshold=0.8)
        collection.search("refund order", k=3)
    _remember_a_calibration(place / "notes.kin")


def _remember_a_calibration(folder: Path) -> None:
    with textkin.Collection(folder, ledger=False) as collection:
        collection.calibrate(copies=10)


def _with_log(place: Path) -> None:
    """As a killed writer leaves it: changes wait in the log."""
    _made(place, "other.kin", 40)
    with textkin.Collection(place / "other.kin", ledger=False) as collection:
        _fill(collection, 20)
        _fill(collection)
        shutil.copytree(place / "other.kin", place / "notes.kin", ignore=shutil.ignore_patterns("*-shm"))
    shutil.rmtree(place / "other.kin")


def _array(place: Path) -> None:
    _made(place, "notes.npy")


def _with_journal(place: Path) -> None:
    _made(place, "other.npy", 40)
    with textkin.Collection(place / "other.npy", ledger=False) as collection:
        store = collection._store  # the journal lives only while a writer is at work
        with store.writing("be copied"):
            _fill(collection, 20)
            _fill(collection)
            for path in place.glob("other.*"):
                shutil.copyfile(path, place / path.name.replace("other", "notes", 1))
    for path in place.glob("*other*"):
        path.unlink()


def _saved(place: Path) -> None:
    model = textkin.load_model(MODEL)
    save_vectors(place / "saved.npy", model.encode(texts()), texts=texts(), model=model.info)


def _ledger(place: Path, log: bool = False) -> None:
    with Ledger(place / "first" / "ledger.db") as ledger:
        for start in range(0, 60, 20):
            with textkin.Collection(place / f"{start}.kin", MODEL, ledger=ledger) as collection:
                collection.add(texts()[start : start + 20])
            shutil.rmtree(place / f"{start}.kin")
            ledger.limit(10**9 + start)
        if log:
            shutil.copytree(place / "first", place / "data", ignore=shutil.ignore_patterns("*-shm"))
    if not log:
        shutil.copytree(place / "first", place / "data")
    shutil.rmtree(place / "first")


def _output(place: Path) -> None:
    rows = [{"id": f"record {n}", "text": text, "n": n} for n, text in enumerate(texts())]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "rows.jsonl").write_text(lines + '{"id": "bad"}\n', encoding="utf-8")
    _embed(place)


def _embed(place: Path, *more: str) -> None:
    from click.testing import CliRunner

    from textkin.cli.main import main

    given = [
        "embed",
        str(place / "rows.jsonl"),
        "-o",
        f"{place / 'out'}/",
        "--model",
        MODEL,
        "--column",
        "n",
        "--id-column",
        "id",
    ]
    done = CliRunner().invoke(main, [*given, "--shard-rows", "20", "--no-ledger", *more])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code == 70 or "Traceback" in done.output:
        raise RuntimeError(done.output)
    if done.exit_code:
        raise TextkinError(done.output)


# -- questions ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(place: Path) -> Iterator[textkin.Collection]:
    with textkin.Collection(place, create=False, ledger=False) as collection:
        yield collection


def _told(hits: Any) -> Any:
    return [(hit.id, round(hit.score, 6), hit.text, dict(hit.metadata)) for hit in hits]


def _questions(name: str) -> dict[str, Question]:
    def asks(question: Callable[[textkin.Collection], Any]) -> Question:
        def ask(place: Path) -> Any:
            with _opened(place / name) as collection:
                return question(collection)

        return ask

    def pairs(collection: textkin.Collection) -> Any:
        report = collection.duplicates(threshold=0.8)
        return [(pair[0], pair[1], round(pair[2], 6)) for pair in report.pairs]

    def saved(collection: textkin.Collection) -> Any:
        from textkin.jobs.deduplicating import saved_calibration

        found = saved_calibration(collection._store)
        return (collection.calibrate(copies=10) if found is None else found).to_dict()

    return {
        "info": asks(lambda c: (c.info().records, c.info().model)),
        "list": asks(lambda c: [(r.id, r.text, dict(r.metadata), r.source, r.spans) for r in c]),
        "get": asks(
            lambda c: [(c.get(f"record {n}").text, dict(c.get(f"record {n}").metadata)) for n in (0, 31, 59)]
        ),
        "count": asks(lambda c: c.count("even = true")),
        "search": asks(lambda c: [_told(c.search(query, k=8)) for query in ("refund order", "gene cell season")]),
        "similar": asks(lambda c: _told(c.similar("record 3", k=5))),
        "duplicates": asks(pairs),
        "calibration": asks(saved),
    }


def _collection_is_healthy(name: str) -> Callable[[Path], bool]:
    return lambda place: not any(finding.state == "broken" for finding in check_collection(str(place / name)))


def _collection_commands(name: str) -> Callable[[Path], list[list[str]]]:
    def commands(place: Path) -> list[list[str]]:
        at = str(place / name)
        return [
            ["list", at],
            ["search", at, "refund order", "--no-ledger"],
            ["duplicates", at, "--threshold", "0.8"],
            ["doctor", at],
        ]

    return commands


def _without_derived(place: Path, chance: random.Random) -> None:
    """In half of the trials nothing is there that was made before the damage."""
    if chance.random() < 0.5:
        for name in ("matrix.bin", "join.bin"):
            (place / "notes.kin" / name).unlink(missing_ok=True)


def _recalled(place: Path) -> Any:
    from textkin.text.digest import text_digest

    with Ledger(place / "data" / "ledger.db") as ledger:
        told = []
        for info in ledger.models():
            known = ledger.recall(info.fingerprint, "", [text_digest(text) for text in texts()])
            told.append([(key, one.vector.tobytes(), one.tokens, one.truncated) for key, one in known.items()])
        return told


def _ledger_facts(place: Path) -> Any:
    with Ledger(place / "data" / "ledger.db") as ledger:
        infos = ledger.models()
        canaries = [ledger.canaries(info.fingerprint) for info in infos]
        kept = [None if one is None else one.tobytes() for one in canaries]
        return infos, kept, ledger.stats(), ledger.size_limit


def _ledger_is_healthy(place: Path) -> bool:
    try:
        with Ledger(place / "data" / "ledger.db") as ledger:
            ledger.check()
    except TextkinError:
        return False
    return True


def _loaded(place: Path) -> Any:
    found = load_vectors(place / "saved.npy")
    return found.vectors.tobytes(), found.texts, found.ids, found.model, found.fingerprint


def _rows(place: Path) -> Any:
    output = VectorOutput(place / "out")
    return [(b.ids, b.texts, list(b.metadata), b.vectors.tobytes()) for b in output.batches(7)]


def _manifest(place: Path) -> Any:
    return {key: value for key, value in VectorOutput(place / "out").manifest.facts.items() if key != "created"}


def _resumed(place: Path) -> Any:
    """What the job makes of it when it is run again."""
    _embed(place, "--resume")
    output = VectorOutput(place / "out")
    facts = {name: output.manifest.facts[name] for name in ("rows", "truncated", "rejected", "failed", "bytes")}
    return facts, [(b.ids, b.texts, list(b.metadata), b.vectors.tobytes()) for b in output.batches(7)]


def _output_kind(name: str, pattern: str, resume: bool) -> Kind:
    questions: dict[str, Question] = {"rows": _rows, "manifest": _manifest}
    if resume:
        questions = {"resume": _resumed, "rows": _rows}
    return Kind(
        name,
        _output,
        lambda place: sorted((place / "out").glob(pattern))[0],
        questions,
        _collection_is_healthy("out"),
        lambda place: [["jobs", str(place / "out"), "--verify"], ["doctor", str(place / "out")]],
    )


_ARRAYS = {
    name: np.random.default_rng(3).integers(-99, 99, size=shape).astype(np.int8 if "8" in name else np.float32)
    for name, shape in {"first.8": (40, 30), "second.8": (30, 40), "scale": (40,), "other.scale": (40,)}.items()
}


def _cached(place: Path) -> Path:
    import os

    os.environ["TEXTKIN_CACHE"] = str(place / "cache")
    return cache.path("0" * 64)


def _save_graph(place: Path) -> None:
    _cached(place)
    cache.save("0" * 64, _ARRAYS)


def _graph(place: Path) -> Any:
    from safetensors.numpy import load_file

    path = _cached(place)
    if cache.find("0" * 64) is None:
        cache.save("0" * 64, _ARRAYS)  # as the model does that finds none
    found = load_file(path)
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in sorted(found.items())}


def _of_folder(file: str) -> Kind:
    return Kind(
        file,
        _with_log if file.endswith("-wal") else _folder,
        lambda place: place / "notes.kin" / file,
        _questions("notes.kin"),
        _collection_is_healthy("notes.kin"),
        _collection_commands("notes.kin"),
        _without_derived if file == "collection.db" else lambda _place, _chance: None,
    )


def _of_array(file: str, journal: bool = False) -> Kind:
    return Kind(
        file,
        _with_journal if journal else _array,
        lambda place: place / file,
        _questions("notes.npy"),
        _collection_is_healthy("notes.npy"),
        _collection_commands("notes.npy"),
    )


def _of_ledger(file: str) -> Kind:
    return Kind(
        file,
        lambda place: _ledger(place, file.endswith("-wal")),
        lambda place: place / "data" / file,
        {"recall": _recalled, "facts": _ledger_facts},
        _ledger_is_healthy,
        lambda _: [["ledger"], ["doctor"]],
    )


def _of_saved(file: str) -> Kind:
    def healthy(place: Path) -> bool:
        return _collection_is_healthy("saved.npy")(place)

    return Kind(file, _saved, lambda place: place / file, {"load": _loaded}, healthy)


KINDS = {
    kind.name: kind
    for kind in itertools.chain(
        map(_of_folder, ("collection.db", "collection.db-wal", "collection.db-mark")),
        map(_of_folder, ("matrix.bin", "join.bin", "calibration.json")),
        [_of_ledger("ledger.db"), _of_ledger("ledger.db-wal")],
        [_of_array("notes.npy"), _of_array("notes.json"), _of_array("notes.npy.journal", journal=True)],
        [_of_saved("saved.npy"), _of_saved("saved.json")],
        [
            _output_kind("shard.parquet", "part-*.parquet", resume=False),
            _output_kind("_manifest.json", "_manifest.json", resume=False),
            _output_kind("shard-resumed", "part-*.parquet", resume=True),
            _output_kind("marker-resumed", "_textkin/shards/*.json", resume=True),
            _output_kind("job.json-resumed", "_textkin/job.json", resume=True),
        ],
        [Kind("graph-cache", _save_graph, _cached, {"arrays": _graph}, lambda _: True)],
    )
}
"""By name."""
