"""What a disk may hold after a power cut: all that was synced, and of the rest anything.

A file's content is durable up to its last fsync, a name up to the last fsync of its folder. What came later may be
there, be lost, be there in part (sectors of 512 bytes; a size without its data) and in any order. Names are
``ordered``, as file systems with a journal keep them (all changes up to some moment; any fsync settles what came
before), or ``reordered``: each unsynced change of a folder stands for itself.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from _sweep_process import Call

SECTOR = 512
Names = Literal["ordered", "reordered"]


@dataclass(slots=True, eq=False)
class Node:
    """A file, folder or link.

    Attributes:
        kind: what it is.
        content: of a file before the run; where a link points to.
        changes: of a file: (number of the call, the call).
        entries: of a folder, as they are after all calls replayed so far.
        before: of a folder, as they were before the run.
        synced: numbers of the calls that made it durable.
    """

    kind: Literal["file", "folder", "link"]
    content: bytes = b""
    changes: list[tuple[int, Call]] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    before: dict[str, Node] = field(default_factory=dict)
    synced: list[int] = field(default_factory=list)

    def synced_before(self, cut: int) -> int:
        """Calls with smaller numbers are durable in it."""
        return max((number for number in self.synced if number < cut), default=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """One change of names: these entries get these nodes (None: go), all at once.

    Attributes:
        number: of its call.
        changes: folder, name, node.
    """

    number: int
    changes: tuple[tuple[Node, str, Node | None], ...]


class Disk:
    """The files below a folder before a run, and all that the run did to them.

    Args:
        folder: as it was before the run.
        root: where the calls say that it lay.
        calls: in order; those on other places are left out.
    """

    def __init__(self, folder: Path, root: Path, calls: Sequence[Call]) -> None:
        self._at = str(root.resolve())
        self._root = _read(folder)
        self._namings: list[Naming] = []
        self._syncs: list[int] = []
        self.length = len(calls)
        for number, call in enumerate(calls):
            if call.op != "mark":
                self._replay(number, call)

    def state(self, cut: int, chance: random.Random, names: Names) -> Node:
        """One thing that the disk may hold when the power goes before this call; the length: after the last."""
        copies: dict[int, Node] = {}
        top = self._copy(self._root, cut, chance, copies)
        done = [naming for naming in self._namings if naming.number < cut]
        settled = max((number for number in self._syncs if number < cut), default=-1)
        moment = chance.choice([settled, cut, chance.randint(settled, cut)])
        share = chance.choice([0.0, 0.5, 1.0])
        for naming in done:
            safe = any(naming.number < folder.synced_before(cut) for folder, _, _ in naming.changes)
            kept = naming.number <= moment if names == "ordered" else chance.random() < share
            if safe or kept:
                _apply(naming, cut, chance, copies, self._copy)
        return top

    def end(self) -> Node:
        """All of it, nothing lost."""
        copies: dict[int, Node] = {}
        top = self._copy(self._root, self.length, None, copies)
        for naming in self._namings:
            _apply(naming, self.length, None, copies, self._copy)
        return top

    def _copy(self, node: Node, cut: int, chance: random.Random | None, copies: dict[int, Node]) -> Node:
        """The node as the disk has it; a folder with the names that it had before the run."""
        if id(node) not in copies:
            made = copies[id(node)] = Node(node.kind, node.content)
            if node.kind == "file":
                made.content = _content(node, cut, chance)
            for name, child in node.before.items():
                made.entries[name] = self._copy(child, cut, chance, copies)
        return copies[id(node)]

    def _replay(self, number: int, call: Call) -> None:
        if call.path.endswith(" (deleted)"):
            return
        inside = [
            self._inside(path) for path in ((call.path, call.other) if call.op != "symlink" else (call.path,))
        ]
        if inside[0] is None:
            return
        node = self._find(inside[0])
        if call.op == "sync" and node is not None:
            node.synced.append(number)
            self._syncs.append(number)
        elif call.op in ("write", "resize") and node is not None:
            node.changes.append((number, call))
        elif call.op == "open":
            if node is None and call.created:
                self._name(number, (inside[0], Node("file")))
            elif node is not None and call.truncated and not call.created:
                node.changes.append((number, Call("resize", call.path, "", False, False, True, 0, b"")))
        elif call.op in ("unlink", "rmdir"):
            self._name(number, (inside[0], None))
        elif call.op == "mkdir":
            self._name(number, (inside[0], Node("folder")))
        elif call.op == "symlink":
            self._name(number, (inside[0], Node("link", call.other.encode())))
        elif call.op in ("rename", "link") and len(inside) > 1 and inside[1] is not None and node is not None:
            leaving = ((inside[0], None),) if call.op == "rename" else ()
            self._name(number, *leaving, (inside[1], node))

    def _name(self, number: int, *changes: tuple[PurePosixPath, Node | None]) -> None:
        found = []
        for path, node in changes:
            folder = self._find(path.parent)
            if folder is not None:
                found.append((folder, path.name, node))
        naming = Naming(number, tuple(found))
        self._namings.append(naming)
        for folder, name, node in naming.changes:
            _set(folder.entries, name, node)

    def _inside(self, path: str) -> PurePosixPath | None:
        if not path.startswith(f"{self._at}/") and path != self._at:
            return None
        return PurePosixPath(path[len(self._at) + 1 :])

    def _find(self, path: PurePosixPath) -> Node | None:
        node: Node | None = self._root
        for part in path.parts:
            node = None if node is None else node.entries.get(part)
        return node


def _apply(naming: Naming, cut: int, chance: random.Random | None, copies: dict[int, Node], copy: object) -> None:
    for folder, name, node in naming.changes:
        assert callable(copy)
        there = copy(folder, cut, chance, copies)
        _set(there.entries, name, None if node is None else copy(node, cut, chance, copies))


def _set(entries: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _content(node: Node, cut: int, chance: random.Random | None) -> bytes:
    """A file's bytes: what was synced, and something of what came after."""
    data = bytearray(node.content)
    safe = cut if chance is None else node.synced_before(cut)
    later = [change for change in node.changes if safe <= change[0] < cut]
    for number, call in node.changes:
        if number < safe:
            _change(data, call)
    if chance is None or not later:
        return bytes(data)
    way = chance.choice(("none", "all", "beginning", "some", "torn", "zeros"))
    count = chance.randint(0, len(later))
    for place, (_, call) in enumerate(later):
        kept = {"none": False, "some": chance.random() < 0.5}.get(way, way == "all" or place < count)
        last = place == count and way in ("torn", "zeros")
        if kept:
            _change(data, call)
        elif last and call.op == "write":
            _change(data, call, chance, zeros=way == "zeros")
    return bytes(data)


def _change(data: bytearray, call: Call, chance: random.Random | None = None, *, zeros: bool = False) -> None:
    """Make one change; with ``chance`` only some of its sectors, or its size alone."""
    if call.op == "resize":
        if call.offset >= len(data):
            data.extend(bytes(call.offset - len(data)))
        elif call.shrunk:
            del data[call.offset :]
        return
    end = call.offset + len(call.data)
    if end > len(data):
        data.extend(bytes(end - len(data)))
    if zeros:
        return
    for start, stop in _sectors(call.offset, end):
        if chance is None or chance.random() < 0.5:
            data[start:stop] = call.data[start - call.offset : stop - call.offset]


def _sectors(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, stop
        start = stop


def _read(path: Path) -> Node:
    if path.is_symlink():
        return Node("link", str(path.readlink()).encode())
    if not path.is_dir():
        return Node("file", path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b"")
    children = {child.name: _read(child) for child in path.iterdir()}
    return Node("folder", entries=dict(children), before=dict(children))


def write(node: Node, target: Path) -> None:
    """Lay a state out as files; SQLite's index of a log is never kept, as it is made anew."""
    target.mkdir(exist_ok=True)
    for name, child in node.entries.items():
        place = target / name
        if child.kind == "folder":
            write(child, place)
        elif child.kind == "link":
            place.symlink_to(child.content.decode())
        elif not name.endswith("-shm"):
            place.write_bytes(child.content)


def differences(node: Node, folder: Path) -> list[str]:
    """Files that are not as the calls say: the record of a run has a gap."""
    found = [] if node.entries.keys() == {path.name for path in folder.iterdir()} else [f"names in {folder.name}"]
    for name, child in node.entries.items():
        place = folder / name
        if child.kind == "folder" and place.is_dir():
            found += differences(child, place)
        elif child.kind == "file" and place.is_file() and not name.endswith("-shm"):
            found += [str(place)] if place.read_bytes() != child.content else []
    return found
