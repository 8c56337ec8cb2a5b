"""What a report on near-duplicates is made from, and how groups are made of it at a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np

from textkin.duplicates.components import component_groups
from textkin.duplicates.stars import Links, Stars, star_groups
from textkin.duplicates.unit_rows import Numbers
from textkin.duplicates.veto import Veto
from textkin.duplicates.work import Work
from textkin.errors import InputError

Reason: TypeAlias = Literal["same text", "same vector", "near", "chain"]
Shape: TypeAlias = Literal["stars", "components"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """One record that a kept record stands for.

    Attributes:
        id: the record's.
        score: with the kept record, or with ``via``; 1.0 for the same text or vector.
        reason: ``same text`` (but for Unicode form and white space), ``same vector``, ``near``, or, in connected
            components only, ``chain``: near to another dropped record, not to the kept one.
        via: where the score is a third record's: one with the same text or vector, or the neighbour of a chain.
    """

    id: str
    score: float
    reason: Reason
    via: str | None = None


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """A kept record and those dropped in its favour, highest score first, ties in input order."""

    kept: str
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class Vetoed:
    """Two records that score high enough and are not taken for duplicates.

    Attributes:
        id: one record's.
        other: the other's.
        score: of the two.
        why: veto to what differs, e.g. ``{"numbers": "3.10 / 3.11"}``: in ``id``, in ``other``. ``unread``:
            something that the model has no token for, so that their score says nothing of it; with ``tokenizer``
            where that is only feared, because its tokenizer is not on this machine: how it comes here.
    """

    id: str
    other: str
    score: float
    why: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a report was made from, in record numbers; enough to make it again at a higher threshold.

    Attributes:
        ids: of all records, in input order.
        links: pairs between records that stand for themselves.
        joined_at: the lowest score that was looked for.
        order: of the keep rule; None for ``central``.
        stand_in: ``(n,)``: the record whose vector was joined for this one (itself, mostly).
        same_text: ``(n,)``: equal numbers mean equal texts.
        same_vector: ``(n,)``: equal numbers mean equal vectors.
        work: how the links were found.
        ties: record numbers in the order that decides between equally central ones; None: by number.
        shape: of the groups.
        veto: the vetoes that were asked for.
        vetoed: pairs that are no links because of them, best first.
        digests: ``text_digest`` of each record's text; empty where the texts were not at hand.
        unread: ids of the records of which the model can read nothing, in input order.
    """

    ids: tuple[str, ...]
    links: Links
    joined_at: float
    order: Numbers | None
    stand_in: Numbers
    same_text: Numbers
    same_vector: Numbers
    work: Work | None
    ties: Numbers | None = None
    shape: Shape = "stars"
    veto: tuple[Veto, ...] = ()
    vetoed: tuple[Vetoed, ...] = ()
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    unread: tuple[str, ...] = ()


def checked_shape(shape: str) -> Shape:
    """The name of a shape.

    Raises:
        InputError: there is none of this name.
    """
    if shape == "stars":
        return "stars"
    if shape == "components":
        return "components"
    raise InputError(f"unknown groups {shape!r}; choose one of: {', '.join(get_args(Shape))}")


def form_groups(evidence: Evidence, threshold: float) -> tuple[DuplicateGroup, ...]:
    """Group the evidence at the threshold of the join, or a higher one; in the order of the kept records."""
    weights = np.bincount(evidence.stand_in, minlength=len(evidence.ids))
    form = star_groups if evidence.shape == "stars" else component_groups
    stars = form(len(evidence.ids), evidence.links.reaching(threshold), evidence.order, weights, evidence.ties)
    keeper = stars.keeper[evidence.stand_in]
    members: dict[int, list[int]] = {}
    for record in np.flatnonzero(keeper != np.arange(len(keeper))).tolist():
        members.setdefault(int(keeper[record]), []).append(record)
    return tuple(
        DuplicateGroup(
            evidence.ids[kept],
            tuple(
                sorted(
                    (_dropped(evidence, stars, record, kept) for record in members[kept]), key=lambda it: -it.score
                )
            ),
        )
        for kept in sorted(members)
    )


def _dropped(evidence: Evidence, stars: Stars, record: int, kept: int) -> Dropped:
    stand_in = int(evidence.stand_in[record])
    if evidence.same_text[record] == evidence.same_text[kept]:
        return Dropped(evidence.ids[record], 1.0, "same text")
    if evidence.same_vector[record] == evidence.same_vector[kept]:
        return Dropped(evidence.ids[record], 1.0, "same vector")
    link = int(stars.link[stand_in])
    if link != kept:
        via = link if stand_in == record else stand_in
        return Dropped(evidence.ids[record], float(stars.score[stand_in]), "chain", evidence.ids[via])
    via_id = evidence.ids[stand_in] if stand_in != record else None
    return Dropped(evidence.ids[record], float(stars.score[stand_in]), "near", via_id)
