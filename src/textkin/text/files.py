"""What an argument stands for: a file, a folder or a glob, on this machine or behind a URL."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import stat
from pathlib import Path

from textkin._outputs import is_output, not_texts
from textkin.errors import InputError
from textkin.text.folders import find_files, local_file
from textkin.text.found import Argument, Find, Found, absolute, shown
from textkin.text.remote import parse_remote
from textkin.text.urls import is_url, parse_url


def parse_argument(given: str | Path) -> Argument:
    """Tell a file from a folder from a glob.

    Raises:
        InputError: it is none of them, or a collection, or the output of an embedding job.
        MissingDependencyError: a URL that needs a package which is not installed.
    """
    if is_url(given):
        return parse_remote(str(given))
    path = Path(given)
    source = absolute(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        text = os.fspath(given)
        if isinstance(error, FileNotFoundError | NotADirectoryError) and glob.has_magic(text):
            return _glob(text)
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"can't read {shown(path)}: {reason}") from error
    if stat.S_ISDIR(mode):
        if (path / "collection.db").exists():
            raise InputError(
                f"{shown(path)} is a collection, not texts to index; name the files that it was made from"
            )
        with contextlib.suppress(OSError):  # whoever reads the folder says why it can't be read
            if is_output(path):
                raise InputError(not_texts(shown(path)))
        return Argument(
            shown(path), source, functools.partial(find_files, path, path.absolute(), source, ()), is_folder=True
        )
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)} is not a regular file; pipe it to - instead")
    return Argument(shown(path), source, _one(local_file(path, source, direct=True)))


def source_of(given: str | Path) -> str:
    """What `Record.source` says of an input, which may be gone already; ``-`` is stdin.

    Raises:
        InputError: a URL that can't be one of an input.
    """
    if is_url(given):
        return parse_url(str(given)).shown.rstrip("/")
    return "-" if str(given) == "-" else absolute(given)


def _glob(text: str) -> Argument:
    parts = Path(text).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:fixed])
    if not folder.is_dir():
        raise InputError(f"the pattern {text!r} matches nothing: there is no folder {shown(folder)}")
    find = functools.partial(find_files, folder, folder.absolute(), absolute(text), parts[fixed:])
    return Argument(shown(text), absolute(text), find, is_folder=True, is_pattern=True)


def _one(file: Found) -> Find:
    return lambda *_: iter([file])
