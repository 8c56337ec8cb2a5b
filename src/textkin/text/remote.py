"""Files behind URLs, by way of fsspec: one file, a folder or a glob, found by the rules of local ones."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from textkin._outputs import MANIFEST, WORKING, is_our_manifest, not_texts
from textkin.errors import FileReadError, InputError
from textkin.text.failures import translated, tried
from textkin.text.folders import describes_vectors, is_beside_table, never_entered
from textkin.text.found import Argument, Found
from textkin.text.options import OnSkip, ReadOptions, Skipped
from textkin.text.patterns import any_fits, fits, segments
from textkin.text.remote_file import RemoteFile
from textkin.text.systems import system_of
from textkin.text.urls import Url, folder_of, parse_url


def parse_remote(given: str) -> Argument:
    """Tell a file behind a URL from a folder from a glob.

    For web servers, a URL that ends in ``/`` is a folder: its page's links are its files.

    Raises:
        InputError: there is nothing, or nobody may read it.
        MissingDependencyError: a package for such URLs is not installed.
    """
    url = parse_url(given)
    with translated(url, f"can't read {url.shown}"):
        system = system_of(url)
    path = str(system._strip_protocol(url.raw))
    about = _about(system, url, path)
    if about is None:
        find = functools.partial(_find, system, url, folder_of(path, url.pattern), url.pattern)
        return Argument(url.shown, url.shown, find, is_folder=True, is_pattern=True)
    if about["type"] == "directory":
        name = url.shown.rstrip("/")
        find = functools.partial(_find, system, url, path.rstrip("/"), ())
        return Argument(name, name, find, is_folder=True)

    def itself(*_: object) -> Iterator[Found]:
        yield _found(system, url, path, url.shown, url.shown, about.get("size"), direct=True)

    return Argument(url.shown, url.shown, itself)


def _about(system: Any, url: Url, path: str) -> dict[str, Any] | None:
    """What a file system knows of a file or folder; None when the URL is a glob, and nothing has its very name."""
    if url.is_web and url.pattern:
        return None
    if url.is_web and url.shown.endswith("/"):
        return {"type": "directory"}
    with translated(url, f"can't read {url.shown}"):
        try:
            about: dict[str, Any] = tried(lambda: system.info(path))
        except FileNotFoundError:
            if url.pattern:
                return None
            raise
    return about


def _found(
    system: Any,
    url: Url,
    path: str,
    name: str,
    source: str,
    size: int | None,
    direct: bool = False,
    chosen: bool = False,
) -> Found:
    remote = RemoteFile(system, url, path, name, size)
    place = path if url.scheme in ("file", "local") else f"{url.scheme}://{path}"
    return Found(name, source, lambda: place, remote.open, lambda: size, direct, chosen, remote.close)


def _find(
    system: Any, url: Url, folder: str, pattern: tuple[str, ...], options: ReadOptions, on_skip: OnSkip
) -> Iterator[Found]:
    """The files below a folder, in the order and by the rules of a walk through one on this machine."""
    with translated(url, f"can't list {url.shown}"):
        top = f"{folder}/" if url.is_web else folder or system.root_marker
        listed = tried(lambda: system.find(top, detail=True))
    root = f"{folder_of(url.shown, pattern)}/"
    inside = _inside(listed, folder, web=url.is_web)
    apart = {parts[:-1] for parts in inside if parts[-1] in ("collection.db", "pyvenv.cfg")}
    if () in apart and not pattern and ("collection.db",) in inside:
        raise InputError(f"{url.shown} is a collection, not texts to index; name the files that it was made from")
    outputs = _outputs(system, url, inside)
    if () in outputs and not pattern:
        raise InputError(not_texts(url.shown))
    apart |= outputs
    apart.discard(())
    include = tuple(segments(one) for one in options.include)
    exclude = tuple(segments(one) for one in options.exclude)
    hidden = options.hidden or any(part.startswith(".") for part in pattern)
    source = url.shown.rstrip("/")

    def wanted(parts: tuple[str, ...]) -> bool:
        above = [parts[:length] for length in range(1, len(parts))]
        if is_beside_table(parts[-1]) or any(never_entered(folder[-1]) or folder in apart for folder in above):
            return False
        if any(any_fits(exclude, some) or (some[-1].startswith(".") and not hidden) for some in (*above, parts)):
            return False
        return (not pattern or fits(parts, pattern)) and (not include or any_fits(include, parts))

    for parts in sorted(filter(wanted, inside), key=_order):
        path, size = inside[parts]
        name = root + "/".join(parts)
        found = _found(system, url, path, name, source, size, chosen=any_fits(include, parts))
        if _describes_the_npy_beside(found, parts, inside):
            on_skip(Skipped(name, f"describes the vectors in {parts[-1][:-5]}.npy", source=source))
        else:
            yield found


def _inside(listed: dict[str, Any], folder: str, *, web: bool) -> dict[tuple[str, ...], tuple[str, int | None]]:
    """Segments below the folder, to what the file system calls the file and its size."""
    inside: dict[tuple[str, ...], tuple[str, int | None]] = {}
    start = f"{folder}/" if folder else ""
    for path, about in listed.items():
        # Keys that end in a slash are how consoles draw folders; a page's links may sort it or lead around in it.
        if not path.startswith(start) or path.endswith("/") or (web and ("?" in path or "#" in path)):
            continue
        if about.get("type") == "other":
            continue  # a pipe or device
        inside[tuple(path[len(start) :].lstrip("/").split("/"))] = (path, about.get("size"))
    return inside


def _outputs(system: Any, url: Url, inside: dict[tuple[str, ...], tuple[str, int | None]]) -> set[tuple[str, ...]]:
    """Folders that an embedding job wrote; a `_manifest.json` alone may be another tool's: it is looked into."""
    outputs = {parts[: parts.index(WORKING)] for parts in inside if WORKING in parts[:-1]}
    for parts, (path, size) in inside.items():
        if parts[-1] == MANIFEST and parts[:-1] not in outputs:
            manifest = _found(system, url, path, url.shown, url.shown, size)
            if _begins(manifest, is_our_manifest):
                outputs.add(parts[:-1])
    return outputs


def _begins(found: Found, known: Callable[[BinaryIO], bool]) -> bool:
    """Whether a file begins as is known of such files; one that can't be read is named by whoever reads it."""
    try:
        with found.open() as file:
            return known(file)
    except FileReadError:
        return False
    finally:
        found.close()


def _order(parts: tuple[str, ...]) -> list[tuple[bool, bytes]]:
    """In each folder first its files, then its folders."""
    last = len(parts) - 1
    return [(at < last, os.fsencode(part)) for at, part in enumerate(parts)]


def _describes_the_npy_beside(
    found: Found, parts: tuple[str, ...], inside: dict[tuple[str, ...], tuple[str, int | None]]
) -> bool:
    name = parts[-1]
    if not name.lower().endswith(".json") or (*parts[:-1], f"{name[:-5]}.npy") not in inside:
        return False
    return _begins(found, describes_vectors)
