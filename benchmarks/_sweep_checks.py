"""What must hold of all that a command left, however it ended: collections, ledger, outputs, files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from _bulk_checks import Known, Output, at_end, listed_and_gone, read_output
from _kill_checks import Snapshot, _near
from textkin.errors import StoreNotFoundError, TextkinError
from textkin.ledger import Ledger
from textkin.models.hashing import HashingModel
from textkin.stores.local import LocalStore
from textkin.stores.resolve import open_store
from textkin.text.digest import text_digest
from textkin.types import Store
from textkin.vectors.files import load_vectors

WIDTH = 64
_TOLERANCE = 1e-3
_DATABASES = ("chroma:", "lancedb:", "qdrant:")
_DERIVED = ("/matrix.bin", "/join.bin", "/calibration.json", ".lock", "/_textkin/lock-0", ".db-wal", ".db-shm")
"""Endings of files that may be there or not: a run with nothing to write leaves a killed one's log as it is."""


@dataclass(slots=True, eq=False)
class State:
    """All that lies below a run's folder, as far as a user can see it.

    Attributes:
        collections: by place; None where there is none.
        outputs: digests of what output files say; None where there is none.
        jobs: finished outputs of bulk jobs.
        files: names of all files, without those of databases.
        texts: digests that the ledger has a vector for.
        problems: what is wrong already.
    """

    collections: dict[str, Snapshot | None] = field(default_factory=dict)
    outputs: dict[str, str | None] = field(default_factory=dict)
    jobs: dict[str, Output | None] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a run is looked at.

    Attributes:
        collections: places of any kind, paths below the run's folder.
        outputs: files.
        jobs: output folders of bulk jobs.
        texts: all that may ever be embedded.
        atomic: the collections have either the old or the new state as a whole.
    """

    collections: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    atomic: bool = False


def below(place: str, folder: Path) -> str:
    """A place that was named from within the folder."""
    scheme, colon, rest = place.partition(":")
    if colon and f"{scheme}:" in _DATABASES:
        return f"{scheme}:{folder / rest}"
    return place if "://" in place else str(folder / place)


def look(folder: Path, watched: Watched) -> State:
    """Read all of it. The folder is a copy: opening a database changes files."""
    state = State()
    # First, for what its killed owners left beside it goes when it is opened, whichever command does.
    _look_at_ledger(folder / "data" / "ledger.db", watched.texts, state)
    state.files = set(_files(folder, watched))
    for place in watched.collections:
        state.collections[place] = _collection(below(place, folder), place, state.problems)
    for name in watched.outputs:
        state.outputs[name] = _output(folder / name, state.problems)
    for name in watched.jobs:
        try:
            state.jobs[name] = read_output(folder / name)
        except (OSError, ValueError, KeyError):
            state.jobs[name] = None  # not begun, under way, or damaged: judged file by file
    return state


def copied(folder: Path, scratch: Path) -> Path:
    """A copy of a run's folder; each has a name of its own, because some databases remember what they opened."""
    scratch.mkdir(exist_ok=True)
    target = Path(tempfile.mkdtemp(dir=scratch))
    shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
    return target


def _files(folder: Path, watched: Watched) -> Iterator[str]:
    inside = tuple(f"{place.partition(':')[2]}/" for place in watched.collections if place.startswith(_DATABASES))
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith((*inside, "tmp/")):
            yield name


def _collection(place: str, name: str, problems: list[str]) -> Snapshot | None:
    try:
        with closing(open_store(place, create=False)) as store:
            if isinstance(store, LocalStore):
                store.check()
            if store.header is None:
                return Snapshot((), {})
            records = tuple(record for batch in store.scan() for record in batch)
            ids = [record.id for record in records]
            found = Snapshot(records, dict(zip(ids, store.vectors(ids), strict=True)))
            problems += [f"{name}: {problem}" for problem in _searches(store, found)]
    except StoreNotFoundError:
        return None
    except TextkinError as error:
        problems.append(f"{name} can't be opened: {type(error).__name__}: {error}")
        return None
    return found


def _searches(store: Store, found: Snapshot) -> Iterator[str]:
    """Whether search answers as counting does."""
    if len(set(found.vectors)) != len(found.records):
        yield "an id comes twice"
    if not found.records:
        return
    counts = [len(found.vectors[record.id]) for record in found.records]
    rows = np.concatenate([found.vectors[record.id] for record in found.records]).astype(np.float64)
    owner = np.repeat(np.arange(len(counts)), counts)
    queries = np.stack([rows[0], rows[-1], np.random.default_rng(1).normal(size=rows.shape[1])])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    k = min(5, len(counts))
    for query, hits in zip(queries, store.search(queries.astype(np.float32), k), strict=True):
        scores = np.full(len(counts), -2.0)
        np.maximum.at(scores, owner, rows @ query)
        best = np.sort(scores)[::-1][:k]
        if len(hits) != k or np.abs(best - [hit.score for hit in hits]).max() > _TOLERANCE:
            yield f"search gives {[round(hit.score, 4) for hit in hits]}, counting {best.round(4).tolist()}"


def _output(path: Path, problems: list[str]) -> str | None:
    """A digest of what a file says; None where there is none. An .npy is read with its description."""
    if path.suffix == ".npy" and (path.exists() or path.with_suffix(".json").exists()):
        if not (path.exists() and path.with_suffix(".json").exists()):
            problems.append(f"of {path.name} and its .json only one is there")
            return None
        try:
            loaded = load_vectors(path)
        except TextkinError as error:
            problems.append(f"{path.name} can't be opened: {type(error).__name__}: {error}")
            return None
        return hashlib.sha256(loaded.vectors.tobytes() + repr(loaded.ids).encode()).hexdigest()
    if path.suffix == ".zip" and zipfile.is_zipfile(path):  # but for the times in it
        with zipfile.ZipFile(path) as archive:
            members = [(item.filename, archive.read(item)) for item in archive.infolist()]
        return hashlib.sha256(repr(members).encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _look_at_ledger(path: Path, texts: Sequence[str], state: State) -> None:
    if not path.exists():
        return
    model = HashingModel(WIDTH)
    digests = {text_digest(text): text for text in texts}
    try:
        with Ledger(path) as ledger:
            found = ledger.recall(model.info.fingerprint, "", list(digests))
    except TextkinError as error:
        state.problems.append(f"the ledger can't be opened: {type(error).__name__}: {error}")
        return
    state.texts = set(found)
    if found:
        wanted = model.embed([digests[digest] for digest in found]).vectors
        if not np.allclose(np.stack([one.vector for one in found.values()]), wanted, atol=1e-6):
            state.problems.append("the ledger has another vector for a text than the model gives")


def after_fault(left: State, old: State, new: State, watched: Watched, folder: Path, done: bool) -> list[str]:
    """What is wrong after a command was broken.

    Args:
        left: what it left.
        old: what there was before it.
        new: what it would have left undisturbed.
        watched: what was looked at.
        folder: the copy that was looked at.
        done: it said that it had succeeded.
    """
    problems = list(left.problems)
    for place in watched.collections:
        here, before, goal = (state.collections[place] for state in (left, old, new))
        if done:
            problems += _other(place, here, goal)
        elif watched.atomic and _other(place, here, before) and _other(place, here, goal):
            problems.append(f"{place} is neither as before nor as it should become")
        else:
            problems += _foreign(place, here, before, goal)
    for name in watched.outputs:
        allowed = {new.outputs[name]} if done else {old.outputs[name], new.outputs[name]}
        if left.outputs[name] not in allowed and not any(name in problem for problem in left.problems):
            problems.append(f"{name} is {'there, but ' if left.outputs[name] else 'gone, '}neither old nor new")
    for name in watched.jobs:
        if not done:
            finished = [output for state in (old, new) if (output := state.jobs[name]) is not None]
            problems += _of_either(folder / name, finished)
        if done:
            goal_job = new.jobs[name]
            assert goal_job is not None
            problems += at_end(folder / name, goal_job)
    return problems


def _of_either(out: Path, finished: Sequence[Output]) -> list[str]:
    """What is wrong with an output folder whose files may be of one job or of the other."""
    problems = listed_and_gone(out)
    for file in sorted(out.glob("*.parquet")):
        told = [Known([output]).problems(file) for output in finished]
        if all(told):
            problems += told[-1] if told else [f"{file.name} is there, though no run makes it"]
    return problems


def at_the_end(left: State, new: State, watched: Watched, folder: Path) -> list[str]:
    """What is wrong after the command was run again and finished."""
    problems = after_fault(left, new, new, watched, folder, True)
    if lost := new.texts - left.texts:
        problems.append(f"the ledger lacks {len(lost)} texts that an undisturbed run leaves in it")
    problems += [f"{name} was left lying" for name in sorted(left.files - new.files) if not _derived(name)]
    return problems


def _derived(name: str) -> bool:
    # Each start of a job leaves a note of it.
    return name.endswith(_DERIVED) or "/_textkin/runs/" in name or name.startswith("data/jobs/")


def _other(place: str, here: Snapshot | None, goal: Snapshot | None) -> list[str]:
    """How one collection differs from another."""
    if here is None or goal is None:
        return [] if here is goal else [f"{place} is {'gone' if here is None else 'there'}"]
    mine, theirs = ([record.id for record in one.records] for one in (here, goal))
    if mine != theirs:
        more, less = set(mine) - set(theirs), set(theirs) - set(mine)
        return [
            f"{place}: {len(more)} records too many, {len(less)} missing"
            if more or less
            else f"{place}: other order"
        ]
    return [
        f"{place}: {name!r} differs from what it should be"
        for name, one, two in zip(mine, here.records, goal.records, strict=True)
        if one != two or not _near(here.vectors[name], goal.vectors[name])
    ]


def _foreign(place: str, here: Snapshot | None, before: Snapshot | None, goal: Snapshot | None) -> Iterator[str]:
    """Records that are neither as they were nor as they should become, and records that are gone."""
    if here is None:
        if before is not None and goal is not None:
            yield f"{place} is gone"
        return
    versions = [{record.id: record for record in one.records} if one else {} for one in (before, goal)]
    sources = (before, goal)
    for record in here.records:
        if not any(
            source is not None
            and record == known.get(record.id)
            and _near(here.vectors[record.id], source.vectors[record.id])
            for source, known in zip(sources, versions, strict=True)
        ):
            yield f"{place}: {record.id!r} is neither the old nor the new record"
    for name in versions[0].keys() & versions[1].keys() - {record.id for record in here.records}:
        yield f"{place}: {name!r} was there, should stay, and is gone"
