"""From a place, as users write it, to a store."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from textkin._network import clean_address, secret
from textkin.errors import ForeignFileError, InputError
from textkin.stores.arrays import ArrayStore
from textkin.stores.foreign import ForeignStore, Reader
from textkin.stores.foreign.npy import npy_reader
from textkin.stores.local import LocalStore
from textkin.stores.options import format_options, parse_options
from textkin.stores.points import Points, PointStore
from textkin.types import Store
from textkin.vectors.outputs import holds_output, not_a_collection

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


@dataclass(frozen=True, slots=True)
class Place:
    """A store's address, taken apart.

    Attributes:
        shown: as it was written, but without a password.
        scheme: what stands before the colon, in small letters.
        rest: what stands behind it, without the options.
        options: ``?name=value&…``.
        create: make the collection where there is none.
        timeout: seconds to wait for another writer.
    """

    shown: str
    scheme: str
    rest: str
    options: dict[str, str]
    create: bool
    timeout: float

    def option(self, name: str, default: str) -> str:
        """One option; each may be asked for once."""
        return self.options.pop(name, default)


def open_store(place: str | Path, *, create: bool = True, read_only: bool = False, timeout: float = 10.0) -> Store:
    """Open the store at a place.

    Args:
        place: a folder, by convention named ``….kin``; or ``….npy``, ``chroma:PATH``, ``chroma+http://HOST:PORT/NAME``,
            ``lancedb:PATH``, ``pinecone:INDEX/NAMESPACE``, ``postgresql://USER@HOST/DATABASE``, ``qdrant:PATH``,
            ``qdrant:http://HOST:PORT/NAME``; ``?collection=NAME`` names another collection than ``textkin`` where
            the address has no place for a name. A Chroma collection, a table (``postgresql://…?table=NAME``) or an
            ``.npy`` of another tool becomes a `ForeignStore`, which only reads.
        create: make it when it isn't there.
        read_only: open without the right to write.
        timeout: seconds to wait for another writer.

    Raises:
        InputError: a URL of a kind that textkin doesn't know.
        ForeignFileError: the output of an embedding job; says how to make a collection of it.
        MissingDependencyError: the database's client is not installed; names the extra.
        StoreNotFoundError: nothing there, and ``create`` is False.
        StoreError: whatever else keeps it from being opened; see `textkin.errors`.
    """
    numbers = npy_reader(place)
    if numbers is not None:
        return ForeignStore(numbers)
    found = _SCHEME.match(str(place)) if isinstance(place, str) else None
    array = array_path(place)
    if array is not None:
        if not str(place).lower().endswith(".npy"):
            raise InputError(f"{place}: only an .npy that another tool made takes options; name {array}")
        return ArrayStore(array, create=create, read_only=read_only, timeout=timeout)
    if not found:
        if holds_output(place):
            raise ForeignFileError(not_a_collection(place))
        return LocalStore(Path(place), create=create, read_only=read_only, timeout=timeout)
    written = str(place)
    address, _, query = written.partition("?")
    asked = Place(
        without_password(written),
        found.group(1).lower(),
        address[found.end() :],
        parse_options(query),
        create and not read_only,
        timeout,
    )
    opening = _KINDS.get(asked.scheme)
    if opening is None:
        raise InputError(
            f"{asked.shown}: textkin can't open a {asked.scheme}: store; give a folder, e.g. notes.kin, or one of "
            + ", ".join(f"{kind}:" for kind in _KINDS)
        )
    opened = opening(asked)
    if asked.options:
        opened.close()
        raise InputError(f"{asked.shown}: unknown option {next(iter(asked.options))!r}")
    return ForeignStore(opened) if isinstance(opened, Reader) else PointStore(opened, read_only=read_only)


def is_database(place: str) -> bool:
    """Whether this names a database rather than a folder or a file."""
    found = _SCHEME.match(place)
    return found is not None and found.group(1).lower() in _KINDS


def may_be_foreign(place: str) -> bool:
    """Whether a collection that another tool made can be at such a place."""
    return array_path(place) is not None or place.lower().startswith(("chroma", "postgres"))


def array_path(place: str | Path) -> Path | None:
    """The .npy that a place names, without options; None where it names something else."""
    written = place if isinstance(place, Path) else Path(str(place).partition("?")[0])
    if written.suffix.lower() != ".npy" or (isinstance(place, str) and _SCHEME.match(place)):
        return None
    return written


def without_password(url: str) -> str:
    """The same address with ``***`` where its password stands, also one whose signs should have been escaped."""
    hidden = re.sub(r"(://[^/@:?]*):[^?]*@", r"\1:***@", url)
    return re.sub(r"((?:^|[?&])\w*(?:password|key|token)=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)


def _chroma(place: Place) -> Points | Reader:
    from textkin.stores.chroma import DEFAULT_NAME, ChromaPoints
    from textkin.stores.foreign.chroma import ChromaReader, made_elsewhere

    name = place.option("collection", DEFAULT_NAME)
    if made_elsewhere(_folder(place), name):
        return ChromaReader(place.shown, name, folder=_folder(place))
    return ChromaPoints(name, folder=_folder(place), create=place.create, timeout=place.timeout)


def _chroma_server(place: Place) -> Points | Reader:
    from textkin.stores.chroma import DEFAULT_NAME, ChromaPoints
    from textkin.stores.foreign.chroma import ChromaReader

    tls = place.scheme.endswith("https")
    parts = urlsplit(f"http:{place.rest}")
    if not parts.hostname:
        raise InputError(f"{place.shown}: expected chroma+http://HOST:PORT/NAME")
    server = (parts.hostname, parts.port or (443 if tls else 8000), tls)
    points = ChromaPoints(unquote(parts.path.strip("/")) or DEFAULT_NAME, server=server, create=place.create)
    if points.made_elsewhere():
        points.close()
        return ChromaReader(points.url, unquote(parts.path.strip("/")) or DEFAULT_NAME, server=server)
    return points


def _qdrant(place: Place) -> Points:
    from textkin.stores.qdrant import DEFAULT_NAME, QdrantPoints

    if not place.rest.startswith(("http://", "https://")):
        name = place.option("collection", DEFAULT_NAME)
        return QdrantPoints(name, folder=_folder(place), create=place.create, timeout=place.timeout)
    parts = urlsplit(clean_address(place.rest, "the URL of Qdrant, qdrant:http://HOST:PORT/NAME"))
    server = f"{parts.scheme}://{parts.hostname}:{parts.port or 6333}"
    name = unquote(parts.path.strip("/")) or DEFAULT_NAME
    return QdrantPoints(name, server=server, key=secret("QDRANT_API_KEY"), create=place.create)


def _lancedb(place: Place) -> Points:
    from textkin.stores.lance import DEFAULT_NAME, LancePoints

    where = place.rest if "://" in place.rest else str(_folder(place))
    name = place.option("collection", DEFAULT_NAME)
    return LancePoints(where, name=name, create=place.create, timeout=place.timeout)


def _pinecone(place: Place) -> Points:
    from textkin.stores.pinecone import PineconePoints

    index, _, namespace = place.rest.partition("/")
    if not index:
        raise InputError(f"{place.shown}: expected pinecone:INDEX/NAMESPACE")
    return PineconePoints(
        index,
        namespace or "textkin",
        create=place.create,
        cloud=place.option("cloud", "aws"),
        region=place.option("region", "us-east-1"),
    )


def _postgresql(place: Place) -> Points | Reader:
    from textkin.stores.pgvector import DEFAULT_NAME, PgVectorPoints

    if "table" in place.options:
        return _table(place)
    name = place.option("collection", DEFAULT_NAME)
    index = place.option("index", "none")
    if index not in ("none", "hnsw"):
        raise InputError(f"{place.shown}: index is hnsw or none, not {index!r}")
    return PgVectorPoints(
        _libpq_address(place),
        shown=place.shown,
        name=name,
        hnsw=index == "hnsw",
        create=place.create,
        timeout=place.timeout,
    )


def _table(place: Place) -> Reader:
    from textkin.stores.foreign.table import TableColumns, TableReader

    told = {
        name: place.options.pop(name) for name in ("id", "text", "vector", "metadata") if name in place.options
    }
    columns = TableColumns(place.options.pop("table"), **told)
    return TableReader(_libpq_address(place), url=place.shown, columns=columns, timeout=place.timeout)


def _libpq_address(place: Place) -> str:
    """What PostgreSQL's own library takes; the options that are left are for it."""
    options = dict(place.options)
    place.options.clear()
    return f"postgresql:{place.rest}{format_options(options)}"


def _folder(place: Place) -> Path:
    if not place.rest:
        raise InputError(f"{place.shown}: expected {place.scheme}:PATH, e.g. {place.scheme}:data/{place.scheme}")
    return Path(place.rest)


_KINDS: Final[dict[str, Callable[[Place], Points | Reader]]] = {
    "chroma": _chroma,
    "chroma+http": _chroma_server,
    "chroma+https": _chroma_server,
    "qdrant": _qdrant,
    "lancedb": _lancedb,
    "pinecone": _pinecone,
    "postgres": _postgresql,
    "postgresql": _postgresql,
}
