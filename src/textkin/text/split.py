"""Long texts into passages that a model can read whole."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from textkin.errors import InputError
from textkin.types import Span

Count: TypeAlias = Callable[[Sequence[str]], list[int]]
"""Tokens of each text as the model would be sent it, special tokens and prompt included."""

_LONG = 20_000
"""Characters beyond which a text is not counted whole, and a piece is cut before it is counted."""
_GRAIN = 8
"""A piece that is too long is cut into this many times the parts it needs, so that passages can be balanced."""
_PARAGRAPH, _SENTENCE, _LINE, _WORD, _CHARACTER = 4, 3, 2, 1, 0
_BREAK = re.compile(
    r"(?P<stop>[.!?…‽؟۔।॥]['\"”’»)\]]*(?=\s)|[。！？｡]['\"”’»」』)\]）]*)\s*"
    r"|\n\s*"
)
_WORD_END = re.compile(r"\S+\s*")
_JOINER = "\u200d"


@dataclass(slots=True)
class _Part:
    """A stretch of one text that still has to be cut into passages of about ``budget`` tokens."""

    text: int
    start: int
    end: int
    budget: float


@dataclass(slots=True)
class _Piece:
    """A stretch that stays together; ``strength`` says how good a place for a cut its end is."""

    start: int
    end: int
    strength: int
    tokens: float = 0.0


def split(text: str, count: Count, max_tokens: int | None) -> tuple[Span, ...]:
    """Cut one text; see `split_all`."""
    return split_all([text], count, max_tokens)[0]


def split_all(texts: Sequence[str], count: Count, max_tokens: int | None) -> list[tuple[Span, ...]]:
    """Cut each text into the passages that get a vector each.

    A text that fits is one span over all of it, and so is an empty text or one of white space only. A longer one
    is cut at the ends of paragraphs, else sentences, lines, words, characters, into passages of about equal
    length. Passages are in order, don't overlap, have no white space at their ends, and miss no other character.
    None is longer than ``max_tokens`` by the model's own count: each is counted, and cut again when it is.

    Args:
        texts: any; when all fit, ``count`` is called once.
        count: order in = order out.
        max_tokens: None: the model reads texts of any length.

    Raises:
        InputError: not even one character fits.
    """
    done: list[list[Span]] = [[] for _ in texts]
    if max_tokens is not None:
        known = [row for row, text in enumerate(texts) if len(text) <= _LONG and text and not text.isspace()]
        overhead, *tokens = count(["", *(texts[row] for row in known)])
        rows = [row for row, tokens_here in zip(known, tokens, strict=True) if tokens_here > max_tokens]
        rows += [row for row, text in enumerate(texts) if len(text) > _LONG and not text.isspace()]
        budget = max(1.0, float(max_tokens - overhead))
        parts = [_Part(row, 0, len(texts[row]), budget) for row in rows]
        while parts:
            parts = _round(texts, parts, count, max_tokens, overhead, done)
    return [
        tuple(sorted(spans, key=lambda span: span.start)) if spans else (Span(0, len(text)),)
        for text, spans in zip(texts, done, strict=True)
    ]


def _round(
    texts: Sequence[str], parts: list[_Part], count: Count, limit: int, overhead: int, done: list[list[Span]]
) -> list[_Part]:
    """Cut every part into passages, keep those that fit, and return the others as smaller parts."""
    passages: list[tuple[_Part, Span]] = []
    for part, pieces in zip(parts, _measure(texts, parts, count, overhead), strict=True):
        spans = [_trim(texts[part.text], start, end) for start, end in _pack(pieces, part.budget)]
        passages += [(part, span) for span in spans if span.start < span.end]
    again: list[_Part] = []
    counts = count([texts[part.text][span.start : span.end] for part, span in passages])
    for (part, span), tokens in zip(passages, counts, strict=True):
        if tokens <= limit:
            done[part.text].append(span)
            continue
        if span.end - span.start == 1:
            raise InputError(
                f"a passage of {limit} tokens can't hold even the one character "
                f"{texts[part.text][span.start]!r}, which takes {tokens}; choose a larger limit"
            )
        # Tokens don't add up exactly. Aim lower; when that did not help at all, halve.
        aim = part.budget * 0.9 * limit / tokens
        if span == _trim(texts[part.text], part.start, part.end):
            middle = _near_middle(texts[part.text], span.start, span.end)
            again += [_Part(part.text, span.start, middle, aim), _Part(part.text, middle, span.end, aim)]
        else:
            again.append(_Part(part.text, span.start, span.end, aim))
    return again


def _measure(texts: Sequence[str], parts: list[_Part], count: Count, overhead: int) -> list[list[_Piece]]:
    """Cut parts into pieces of at most their budget (or one character) and count each piece's own tokens."""
    cut = [_pieces(texts[part.text], part.start, part.end) for part in parts]
    waiting = [(part, piece) for part, pieces in zip(parts, cut, strict=True) for piece in pieces]
    replaced: dict[int, list[_Piece]] = {}
    while waiting:
        counts = count([texts[part.text][piece.start : piece.end] for part, piece in waiting])
        following: list[tuple[_Part, _Piece]] = []
        for (part, piece), tokens in zip(waiting, counts, strict=True):
            piece.tokens = max(0.0, float(tokens - overhead))
            if piece.tokens > part.budget and piece.end - piece.start > 1:
                finer = _finer(texts[part.text], piece, math.ceil(_GRAIN * piece.tokens / part.budget))
                replaced[id(piece)] = finer
                following += [(part, smaller) for smaller in finer]
        waiting = following
    return [[leaf for piece in pieces for leaf in _leaves(piece, replaced)] for pieces in cut]


def _leaves(piece: _Piece, replaced: dict[int, list[_Piece]]) -> list[_Piece]:
    finer = replaced.get(id(piece))
    return [piece] if finer is None else [leaf for smaller in finer for leaf in _leaves(smaller, replaced)]


def _pieces(text: str, start: int, end: int) -> list[_Piece]:
    """Sentences and lines, each with the white space after it; none longer than ``_LONG`` characters."""
    pieces: list[_Piece] = []
    at = start
    for found in _BREAK.finditer(text, start, end):
        pieces.append(_Piece(at, found.end(), _strength(found)))
        at = found.end()
    if at < end:
        pieces.append(_Piece(at, end, _PARAGRAPH))
    short: list[_Piece] = []
    for piece in pieces:
        length = piece.end - piece.start
        short += [piece] if length <= _LONG else _finer(text, piece, math.ceil(_GRAIN * length / _LONG))
    return short


def _strength(found: re.Match[str]) -> int:
    if found.group().count("\n") > 1:
        return _PARAGRAPH
    return _SENTENCE if found["stop"] else _LINE


def _finer(text: str, piece: _Piece, parts: int) -> list[_Piece]:
    """Cut a piece into about ``parts``, at least two: between words if it has several, else between characters."""
    length = piece.end - piece.start
    step = max(1, min(length // max(2, parts), length - 1))
    ends = [found.end() for found in _WORD_END.finditer(text, piece.start, piece.end)]
    strength = _WORD
    if len(ends) < 2:
        ends = [_not_inside(text, at, piece.end) for at in range(piece.start + step, piece.end, step)]
        strength = _CHARACTER
    finer: list[_Piece] = []
    at = piece.start
    for end in ends:
        if end - at >= step and end < piece.end:
            finer.append(_Piece(at, end, strength))
            at = end
    if not finer:  # one word and a short tail: cut where the last word starts, or in the middle
        at = ends[-2] if strength == _WORD else piece.start + length // 2
        finer.append(_Piece(piece.start, at, strength))
    finer.append(_Piece(at, piece.end, piece.strength))
    return finer


def _not_inside(text: str, at: int, end: int) -> int:
    """Move a cut behind accents and joiners, a few characters at most, so that signs stay whole."""
    for place in range(at, min(at + 16, end)):
        if (
            text[place] != _JOINER
            and text[place - 1] != _JOINER
            and unicodedata.category(text[place]) not in "MnMe"
        ):
            return place
    return at


def _near_middle(text: str, start: int, end: int) -> int:
    """A place inside the stretch: after the white space that is nearest to the middle, else the middle."""
    middle = (start + end) // 2
    before = [found.end() for found in _WORD_END.finditer(text, start, end)][:-1]
    return min(before, key=lambda place: abs(place - middle)) if before else middle


def _pack(pieces: list[_Piece], budget: float) -> list[tuple[int, int]]:
    """Join neighbouring pieces into balanced passages of at most ``budget`` tokens."""
    passages: list[tuple[int, int]] = []
    rest = sum(piece.tokens for piece in pieces)
    first = 0
    while first < len(pieces):
        target = rest / max(1, math.ceil(rest / budget))
        last, taken = _best_end(pieces, first, target, budget) if rest > budget else (len(pieces) - 1, rest)
        passages.append((pieces[first].start, pieces[last].end))
        rest -= taken
        first = last + 1
    return passages


def _best_end(pieces: list[_Piece], first: int, target: float, budget: float) -> tuple[int, float]:
    """The piece to end a passage with: the strongest break near the target, else the break nearest to it."""
    best, best_rank, best_taken = first, (-1, -math.inf), pieces[first].tokens
    taken = 0.0
    for at in range(first, len(pieces)):
        taken += pieces[at].tokens
        if at > first and (taken > budget or taken > 1.4 * target):
            break
        near = 0.6 * target <= taken <= 1.4 * target
        rank = (pieces[at].strength if near else -1, -abs(taken - target))
        if rank > best_rank:
            best, best_rank, best_taken = at, rank, taken
    return best, best_taken


def _trim(text: str, start: int, end: int) -> Span:
    inside = text[start:end]
    lead = len(inside) - len(inside.lstrip())
    return Span(start + lead, max(start + lead, start + len(inside.rstrip())))
