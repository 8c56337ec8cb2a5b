"""Where a model already lies on this machine, without asking any network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from textkin.errors import InputError, ModelNotFoundError, WeightsError
from textkin.models import catalog as known
from textkin.models.catalog import CatalogEntry
from textkin.models.settings import read_json
from textkin.models.weights.cache import pinned_commit, repository_folder
from textkin.models.weights.files import has_weights, listing, refuse_odd, refuse_unsupported
from textkin.models.weights.verifying import verify

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_DEFAULT_OWNER = "sentence-transformers"
MAIN = "main"
BUNDLE = "bundle:"
"""What the name of a model begins with that came in a bundle and that no pinned digest vouches for."""
_BUNDLE_OWNER = "bundle@"
"""In the place of an organisation: the hub has none of this name."""
_BUNDLED = re.compile(r"bundle:([A-Za-z0-9_][\w.-]*)@([0-9a-f]{12})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model's name means.

    Attributes:
        name: as the user wrote it.
        folder: the user's own folder; then nothing else is set.
        entry: the catalog's facts; only where the pinned revision is meant.
        repository: on the hub, ``organisation/name``.
        revision: commit, branch or tag; of a bundle the beginning of its digest.
    """

    name: str
    folder: Path | None = None
    entry: CatalogEntry | None = None
    repository: str = ""
    revision: str = MAIN

    @property
    def commit(self) -> str | None:
        """The commit, where it is known already: pinned, written out, or recorded at the first fetch."""
        if _COMMIT.fullmatch(self.revision):
            return self.revision
        return pinned_commit(self.repository, self.revision)


def understand(name: str, catalog: Sequence[CatalogEntry] | None = None) -> Wanted:
    """Read a model's name: of the catalog, a folder, or ``organisation/name`` with or without ``@revision``.

    A name of the catalog always means the published model; write ``./name`` for a folder called so.

    Raises:
        ModelNotFoundError: it can be none of these, or the folder is not there.
        InputError: it is empty.
    """
    if not name.strip():
        raise InputError(
            "the model's name is empty; expected a name such as all-MiniLM-L6-v2 (see: textkin models)"
        )
    if name.startswith(BUNDLE):
        bundled = _BUNDLED.fullmatch(name)
        if bundled is None:
            raise ModelNotFoundError(
                f"no model can be called {name[:200]!r}; expected {BUNDLE}NAME@DIGEST, as textkin models install "
                "told it"
            )
        return Wanted(name=name, repository=bundle_repository(bundled[1]), revision=bundled[2])
    entry = known.find(name, catalog)
    if entry is not None:
        return Wanted(name=name, entry=entry, repository=entry.repository, revision=entry.revision or MAIN)
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return Wanted(name=name, folder=folder)
        exists = folder.exists()
    except (OSError, RuntimeError) as error:
        raise ModelNotFoundError(f"{name[:200]!r} can't be read as a folder ({error})") from error
    if name.startswith((".", "/", "~", "\\")) or _DRIVE.match(name) or exists:
        what = "is a file" if exists else "does not exist"
        raise ModelNotFoundError(f"{name} {what}; expected a folder with config.json and model.safetensors")
    base, _, revision = name.partition("@")
    entry = known.find(base, catalog)
    repository = entry.repository if entry is not None else base
    if "/" not in repository:
        repository = f"{_DEFAULT_OWNER}/{repository}"
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise ModelNotFoundError(
            f"no model can be called {name!r}; expected a name of the catalog (see: textkin models), "
            "organisation/name on the model hub, or a folder"
        )
    if entry is not None and revision == entry.revision:
        return Wanted(name=name, entry=entry, repository=repository, revision=revision)
    return Wanted(name=name, repository=repository, revision=revision or MAIN)


def bundle_repository(label: str) -> str:
    """Where the models lie that came in bundles under this name."""
    return f"{_BUNDLE_OWNER}/{label}"


def is_revision(repository: str, revision: str) -> bool:
    """Whether these could be a model's repository and commit."""
    owner, _, label = repository.partition("/")
    fits = bool(_REPOSITORY.fullmatch(repository)) or (owner == _BUNDLE_OWNER and label == bundle_label(label))
    return fits and ".." not in repository and "--" not in repository and bool(_COMMIT.fullmatch(revision))


def bundle_label(name: str) -> str:
    """The last part of a model's name, of letters that are safe everywhere."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name.rpartition("/")[2]).strip("-.") or "model"


def entry_of(name: str, catalog: Sequence[CatalogEntry] | None = None) -> CatalogEntry | None:
    """What the catalog says on a model's use (its prompts), by its name or by the one that its bundle claims."""
    bundled = _BUNDLED.fullmatch(name)
    return known.find(bundled[1] if bundled is not None else name, catalog)


def locate(name: str, *, catalog: Sequence[CatalogEntry] | None = None) -> Path | None:
    """A verified folder of a model that is already here; None when it is not. Never uses the network.

    Looked at in this order: a folder of this name, textkin's cache, the Hugging Face cache.

    Raises:
        ModelNotFoundError: the name can't be a model's, or names a folder that holds none.
        WeightsError: textkin's copy differs from what was published.
    """
    found, _ = search(understand(name, catalog))
    return found


def place(name: str, *, catalog: Sequence[CatalogEntry] | None = None) -> Path | None:
    """Where ``locate`` would find a model, not verified, so that a damaged copy can be named."""
    wanted = understand(name, catalog)
    home, commit = repository_folder(wanted.repository), wanted.commit
    if wanted.folder is None and commit is not None and _is_folder(home / commit):
        return home / commit
    return search(wanted)[0]


def search(wanted: Wanted) -> tuple[Path | None, list[str]]:
    """The verified folder, or None with one line for each place that was looked at."""
    if wanted.folder is not None:
        return _own_folder(wanted.folder), []
    home = repository_folder(wanted.repository)
    commit = wanted.commit
    if commit is not None and _is_folder(home / commit):
        verify(home / commit, wanted.entry)
        return home / commit, []
    notes = [f"textkin's cache ({home}): not there"]
    reason = "not there"
    for snapshot in _snapshots(wanted, commit):
        try:
            if wanted.entry is not None and wanted.entry.files:
                _same_sizes(snapshot, wanted.entry)
                verify(snapshot, wanted.entry)
            elif not _is_whole(snapshot):
                reason = "an incomplete copy"
                continue
        except WeightsError as error:
            reason = str(error).partition(";")[0]
            continue
        except OSError as error:
            reason = f"can't be read ({error.strerror})"
            continue
        return snapshot, []
    notes.append(f"Hugging Face cache ({hub_cache()}): {reason}")
    return None, notes


def hub_cache() -> Path:
    """Where the hub's official client keeps its downloads (its own rule, read without importing it)."""
    # expanduser of os.path leaves a user that there isn't as it is, as the client does.
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.path.expanduser(os.path.expandvars(os.environ[variable])))  # noqa: PTH111
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expanduser(os.path.expandvars(home))) / "hub"  # noqa: PTH111


def _own_folder(folder: Path) -> Path:
    try:
        refuse_odd(folder)
        paths = listing(folder)
    except OSError as error:
        raise ModelNotFoundError(f"{folder} can't be read ({error.strerror})") from error
    if "config.json" not in paths and "modules.json" not in paths:
        raise ModelNotFoundError(
            f"{folder} is a folder but holds no model; expected config.json or modules.json, and model.safetensors"
        )
    refuse_unsupported(str(folder), paths)
    return folder.resolve()


def _is_whole(folder: Path) -> bool:
    """Whether a copy that another program may have fetched in part has all that decides a vector.

    Without ``modules.json`` or a module's settings the model would run with the wrong pooling or length.
    """
    paths = set(listing(folder))
    try:
        modules = read_json(folder / "modules.json")
        places = [str(module["path"]) for module in modules if not str(module["type"]).endswith("Normalize")]
    except (OSError, WeightsError, KeyError, TypeError):
        return False
    wanted = {f"{place}/config.json" if place else "config.json" for place in places}
    first = f"{places[0]}/" if places and places[0] else ""
    length = any(re.fullmatch(re.escape(first) + r"sentence_[\w-]+_config\.json", path) for path in paths)
    return length and wanted <= paths and f"{first}tokenizer.json" in paths and has_weights(paths)


def _snapshots(wanted: Wanted, commit: str | None) -> Iterator[Path]:
    """Folders of the Hugging Face cache that may hold the wanted model, the likeliest first."""
    home = hub_cache() / f"models--{wanted.repository.replace('/', '--')}"
    if commit is None:
        try:
            commit = (home / "refs" / wanted.revision).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return
    if not _COMMIT.fullmatch(commit):
        return
    if _is_folder(home / "snapshots" / commit):
        yield home / "snapshots" / commit
    if wanted.entry is not None and wanted.entry.files:
        # Later commits often change only the README; what counts is that every file is the pinned one.
        try:
            others = sorted((home / "snapshots").iterdir())
        except OSError:
            return
        yield from (other for other in others if other.name != commit)


def _is_folder(path: Path) -> bool:
    """False also where a folder above may not be entered."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _same_sizes(folder: Path, entry: CatalogEntry) -> None:
    """Refuse quickly, without hashing, a copy that can't be the published one."""
    for file in entry.files:
        path = folder / file.path
        if not path.is_file():
            raise WeightsError(f"{file.path} is missing in {folder}")
        if file.path.endswith(".safetensors") and path.stat().st_size != file.size:
            raise WeightsError(f"{file.path} in {folder} has not the published size")
