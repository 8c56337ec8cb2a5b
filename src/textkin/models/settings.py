"""A model's JSON files, read with care: regular files of a sane size, and values of the types they should have."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from textkin.errors import ModelNotFoundError, WeightsError

LARGEST: Final = 64 << 20
"""Bytes of a configuration file; a tokenizer may have more."""
LARGEST_TOKENIZER: Final = 1 << 30
_NO_LIMIT: Final = 10**9
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file; nothing else is ever opened: reading a FIFO would wait for ever.

    Raises:
        OSError: it can't be read, is something else than a file, or is larger than ``largest``.
        FileNotFoundError: nothing is there; a link that leads nowhere is an `OSError` of another kind.
    """
    try:
        odd = kind_of_file(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "a link that leads nowhere", str(path)) from None
        raise
    except ValueError as error:  # a NUL or half a surrogate in the name
        raise OSError(errno.EINVAL, "no name that a file can have", str(path)) from error
    if odd is not None:
        raise OSError(errno.EINVAL, f"{odd}, not a file", str(path))
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"larger than {largest >> 20:,} MiB", str(path))
    return data


def kind_of_file(path: Path) -> str | None:
    """What something is that is no regular file, for people; None for a file. Links are followed.

    Raises:
        OSError: nothing is there, or it can't be asked.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")


def is_there(path: Path) -> bool:
    """Whether something has this name, were it only a link that leads nowhere: only then is an option left out."""
    return os.path.lexists(path)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: it is missing.
        WeightsError: it can't be read as JSON.
    """
    try:
        return json.loads(read_regular(path).decode("utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}); fetch the model again") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise WeightsError(f"{path} can't be read as JSON ({reason}); fetch the model again") from error


class Settings:
    """The values of one JSON object, each checked when it is asked for.

    A value that is ``null`` is as good as none.

    Args:
        values: the object.
        path: its file, for messages.
        inside: the key of the object in the file; empty: it is the whole file.
    """

    def __init__(self, values: Mapping[str, Any], path: Path, inside: str = "") -> None:
        self.values = values
        self.path = path
        self._inside = inside

    @classmethod
    def read(cls, path: Path, *, optional: bool = False) -> Settings:
        """Those of a file; of a missing one none, where that is allowed.

        Raises:
            ModelNotFoundError: it is missing.
            WeightsError: it holds no JSON object.
        """
        try:
            data = read_json(path)
        except FileNotFoundError as error:
            if optional:
                return cls({}, path)
            raise ModelNotFoundError(f"{path} is missing; fetch the model again") from error
        if not isinstance(data, dict):
            raise WeightsError(f"{path} holds {_kind(data)}; expected an object; fetch the model again")
        return cls(data, path)

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def get(self, key: str) -> Any:
        """The value as it stands, None where there is none."""
        return self.values.get(key)

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int = _NO_LIMIT) -> int:
        """A whole number (also written as ``128.0``) from ``least`` to ``most``.

        Raises:
            WeightsError: another value, or none where there is no default.
        """
        found: Any = self.values.get(key)
        if found is None and default is not None:
            return default
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        if is_number and least <= found <= most and found == int(found):
            return int(found)
        upper = "" if most == _NO_LIMIT else f" and at most {most}"
        raise self.wrong(key, f"a whole number of at least {least}{upper}")

    def number(self, key: str, default: float, *, above: float, below: float) -> float:
        """A number between two bounds, both left out.

        Raises:
            WeightsError: another value.
        """
        found = self.values.get(key)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not above < found < below:
            raise self.wrong(key, f"a number between {above:g} and {below:g}")
        return float(found)

    def limit(self, key: str) -> int | None:
        """A number of tokens; None where there is none, or one that stands for "no limit".

        transformers writes 1e30 for that; -1 is XLNet's way to say it.

        Raises:
            WeightsError: something else than a number.
        """
        found = self.values.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, (int, float)) or math.isnan(found):
            raise self.wrong(key, "a number of tokens")
        return int(found) if 0 < found < _NO_LIMIT else None

    def flag(self, key: str, default: bool) -> bool:
        """Yes or no.

        Raises:
            WeightsError: another value.
        """
        found = self.values.get(key)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise self.wrong(key, "true or false")
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """A text.

        Raises:
            WeightsError: another value, or none where there is no default.
        """
        found = self.values.get(key)
        if found is None and default is not None:
            return default
        if not isinstance(found, str):
            raise self.wrong(key, "a text")
        return _well_formed(found, self, key)

    def inner(self, key: str) -> Settings:
        """An object inside; an empty one where there is none.

        Raises:
            WeightsError: another value.
        """
        found = self.values.get(key)
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise self.wrong(key, "an object")
        return Settings(found, self.path, key)

    def wrong(self, key: str, expected: str) -> WeightsError:
        """The error of a value that isn't what it should be."""
        place = f"{self._inside}.{key}" if self._inside else key
        found = self.values.get(key)
        told = "nothing" if found is None else f"{_kind(found)}, {found!r:.60}"
        return WeightsError(f"{self.path}: {place} is {told}; expected {expected}; fetch the model again")


def _well_formed(text: str, settings: Settings, key: str) -> str:
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise settings.wrong(key, "a text without broken characters")
    return text


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")
