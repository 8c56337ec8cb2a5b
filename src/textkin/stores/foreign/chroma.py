"""A Chroma collection that another program made: a folder, of which a copy is read, or a server."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import numpy as np

from textkin._places import absolute
from textkin.errors import StoreError, StoreLockedError
from textkin.stores.chroma import ChromaPoints
from textkin.stores.foreign.reader import Row
from textkin.stores.problems import from_system
from textkin.text.digest import well_formed
from textkin.text.tables import plain_value

_PAGE: Final = 1000
_TRIES: Final = 5
_DATABASE: Final = "chroma.sqlite3"
_OURS: Final = "textkin_header"


class ChromaReader:
    """One collection; give a folder, or a server.

    Chroma's client writes into a folder as soon as it opens it, and brings an older format up to date for good. So
    the folder is copied to a temporary place first, and the copy is opened.

    Args:
        url: as the user names it.
        name: of the collection.
        folder: of a PersistentClient.
        server: (host, port, whether by TLS) of a Chroma server.
    """

    unread: tuple[str, ...] = ()

    def __init__(
        self, url: str, name: str, *, folder: Path | None = None, server: tuple[str, int, bool] | None = None
    ) -> None:
        self.url = url
        self._name = name
        self._folder = None if folder is None else absolute(folder)
        self._server = server

    def close(self) -> None:
        """Nothing is held between two calls."""

    def batches(self) -> Iterator[list[Row]]:
        """Rows in the order in which Chroma got them."""
        with self._opened() as points:
            # By their ids: with an offset, a page would shift when somebody deletes meanwhile.
            ids = points.told(include=[])["ids"]
            for start in range(0, len(ids), _PAGE):
                part = ids[start : start + _PAGE]
                answer = points.told(ids=part, include=["documents", "metadatas", "embeddings"])
                found = {row.id: row for row in _rows(answer)}
                yield [found[name] for name in map(well_formed, part) if name in found]

    @contextmanager
    def _opened(self) -> Iterator[ChromaPoints]:
        with tempfile.TemporaryDirectory(prefix="textkin-chroma-", ignore_cleanup_errors=True) as place:
            copied = None
            if self._folder is not None:
                copied = Path(place) / "copy"
                copy_at_rest(self._folder, copied)
            points = ChromaPoints(self._name, folder=copied, server=self._server, create=False)
            points.url = self.url  # errors name the original
            try:
                yield points
            finally:
                points.close()


def made_elsewhere(folder: Path, name: str) -> bool:
    """Whether a folder of Chroma's holds a collection that lacks textkin's header; the folder is only read.

    False also where that can't be told this way: whoever opens it next finds out.
    """
    path = folder / _DATABASE
    if not path.is_file():
        return False
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        # Immutable: no lock is taken and no file made.
        connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
        try:
            found = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM collection_metadata m WHERE m.collection_id = c.id AND m.key = ?) "
                "FROM collections c WHERE c.name = ?",
                (_OURS, name),
            ).fetchall()
        finally:
            connection.close()
    except apsw.Error:
        return False
    return bool(found) and not any(row[0] for row in found)


def copy_at_rest(folder: Path, target: Path) -> None:
    """Copy a folder of one moment.

    Raises:
        StoreLockedError: another program wrote to it each time.
    """
    for number in range(_TRIES):
        try:
            if _copied(folder, target):
                return
        except OSError as error:
            raise from_system(error, folder) from error
        shutil.rmtree(target, ignore_errors=True)
        time.sleep(0.1 * 2**number)
    raise StoreLockedError(f"{folder} is being written by another program; wait until it is done, then try again")


def _copied(folder: Path, target: Path) -> bool:
    """Copy; False where a file changed or went meanwhile."""
    try:
        before = _states(folder)
        try:
            shutil.copytree(folder, target, copy_function=shutil.copyfile)
        except shutil.Error as error:
            if _states(folder) == before:
                raise StoreError(f"{folder} can't be read: {error}") from error
            return False
        return _states(folder) == before
    except FileNotFoundError:  # gone between being listed and being read
        return False


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (state.st_size, state.st_mtime_ns) for path, state in found}


def _rows(answer: Any) -> Iterator[Row]:
    for number, key in enumerate(answer["ids"]):
        told = answer["metadatas"][number] or {}
        metadata = {well_formed(str(name)): plain_value(value) for name, value in told.items()}
        embedding = answer["embeddings"][number]
        vector = None if embedding is None else np.asarray(embedding)
        yield Row(well_formed(str(key)), answer["documents"][number], metadata, vector)
