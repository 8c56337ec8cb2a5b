"""Which threshold? From the texts and the model themselves: false pairs to expect, edited copies missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from textkin.duplicates.calibration import Calibration, Level, about
from textkin.duplicates.find import plain
from textkin.duplicates.join import near_pairs
from textkin.duplicates.labels import LabelledPair, LabelScores, judge
from textkin.duplicates.null import BINS, LOW, WIDTH, NullSample, sample_null
from textkin.duplicates.perturb import EDITS, edited
from textkin.duplicates.tail import Tail, fit_tail, refitted
from textkin.duplicates.unit_rows import SCORE_DECIMALS, Doubles, pair_scores, unit_rows
from textkin.errors import InputError
from textkin.types import Matrix, Progress

EmbedTexts: TypeAlias = Callable[[Sequence[str]], tuple[Matrix, Sequence[int]]]
"""Texts to one unit row each, and the places of those that the model refused (their rows are zero)."""

_FIRST: Final = 0.3
_STEP: Final = 4
"""Bins from one level to the next: 0.01 of score."""
_REDRAWN: Final = 200
_INTERVAL: Final = (5.0, 95.0)
_COPIES: Final = 256
_SURE: Final = 2.0
"""How many times more pairs than expected by chance must be found for a threshold to be worth considering."""
_AS_GOOD: Final = 0.005
_JOINED: Final = 2048
_MOST_FOUND: Final = 2_000_000


def calibrate(
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    *,
    model: str,
    fingerprint: str,
    embed: EmbedTexts | None = None,
    labels: tuple[Doubles, Sequence[bool]] | None = None,
    copies: int = _COPIES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Estimate, for each threshold, how many unrelated pairs reach it and how many near-copies stay below.

    Unrelated pairs: the scores of all pairs of up to 8,192 texts drawn at random, without those that are equal;
    their tail is fitted where no duplicates show and extrapolated (`textkin.duplicates.tail`), for as many pairs
    as the records have. The interval comes from imitating other draws of texts; it does not cover the doubt
    about the form of the curve. Near-copies: texts drawn at random, each edited lightly in one of eight ways and
    embedded.

    ``auto`` is, with labels, the threshold of the best F1. Else it is the lowest one, in steps of 0.01, whose
    estimated F1 is within 0.005 of the best: true pairs are those found less the false ones expected, out of the
    most that any threshold finds, among thresholds that find at least twice as many pairs as chance may give.
    Where there is none (nothing to find), it is the lowest at which less than one false pair is expected.

    Args:
        texts: one a record.
        vectors: ``(n, d)`` unit rows, one a record.
        model: its name.
        fingerprint: the model's.
        embed: the model; None makes no copies.
        labels: scores of labelled pairs, and whether each is the same.
        copies: how many texts to edit and embed.
        seed: of all draws.
        progress: called with rows scored and rows in all.

    Raises:
        InputError: too few different texts.
    """
    first: dict[str, int] = {}
    for record, text in enumerate(texts):
        first.setdefault(plain(text), record)
    distinct = np.array(list(first.values()), dtype=np.int64)
    rows = vectors[distinct] if len(distinct) < len(vectors) else vectors
    if len(distinct) < 2:
        raise InputError("calibrating needs different texts, and there are not two")
    null = sample_null(rows, seed=seed, progress=progress)
    tail = fit_tail(null.histogram())
    pairs = len(rows) * (len(rows) - 1) / 2
    bins = np.arange(round((_FIRST - LOW) / WIDTH), BINS, _STEP)
    thresholds: Doubles = np.round(LOW + bins * WIDTH, 4).astype(np.float64)
    false = tail.above()[bins] / null.pairs * pairs
    low, high = _interval(null, tail, bins, pairs, seed)
    found = _found(rows, null, thresholds, bins, seed)
    scores, kinds = _copies(texts, vectors, distinct, embed, copies, seed)
    judged = None if labels is None else judge(*labels)
    levels = tuple(
        Level(
            threshold=float(t),
            false=float(false[k]),
            false_low=float(low[k]),
            false_high=float(high[k]),
            found=float(found[k]),
            missed=float((scores < t).mean()) if len(scores) else None,
            missed_by={kind: float((scores[kinds == kind] < t).mean()) for kind in EDITS if (kinds == kind).any()},
        )
        for k, t in enumerate(thresholds)
    )
    chosen, why = _choose(levels, judged)
    return Calibration(
        model=model,
        fingerprint=fingerprint,
        records=len(texts),
        texts=len(distinct),
        sampled=null.rows,
        window=tail.window,
        fitted=tail.good,
        copies=len(scores),
        levels=levels,
        labels=judged,
        threshold=chosen,
        why=why,
    )


def label_scores(
    pairs: Sequence[LabelledPair],
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    embed: EmbedTexts,
) -> tuple[Doubles, list[bool]]:
    """Score labelled pairs: a name is an id, else a text of a record, else a text that is embedded now.

    Raises:
        InputError: a name that is no id where most are ids, or where it looks like one; a text that can't be
            embedded.
    """
    place_of = {plain(text): record for record, text in enumerate(texts)}
    place_of.update({name: record for record, name in enumerate(ids)})
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.one, pair.other)))
    known = {name: place_of.get(name, place_of.get(plain(name), -1)) for name in names}
    unknown = [name for name in names if known[name] < 0]
    rows = np.asarray(vectors)
    _refuse_mistyped(names, unknown, frozenset(ids))
    if unknown:
        fresh, refused = embed(unknown)
        if refused:
            raise InputError(f"{unknown[refused[0]]!r} is no id, and can't be embedded as a text")
        known.update({name: len(rows) + place for place, name in enumerate(unknown)})
        rows = np.concatenate([rows, fresh]) if len(rows) else fresh
    one = np.array([known[pair.one] for pair in pairs], dtype=np.int64)
    other = np.array([known[pair.other] for pair in pairs], dtype=np.int64)
    unit = unit_rows(rows)
    return pair_scores(unit, one, unit, other), [pair.same for pair in pairs]


def _refuse_mistyped(names: Sequence[str], unknown: Sequence[str], ids: frozenset[str]) -> None:
    """Refuse to take for texts what is meant as ids.

    Raises:
        InputError: a single word that is neither an id nor a text here, where others are ids or all are such.
    """
    mistyped = [name for name in unknown if len(name.split()) < 2]
    if mistyped and (len(mistyped) == len(names) or any(name in ids for name in names)):
        named = ", ".join(map(repr, mistyped[:5])) + (", …" if len(mistyped) > 5 else "")
        raise InputError(
            f"{len(mistyped)} of {len(names)} names in the labels are no ids of these records: {named}. Mend "
            "those pairs, or leave them out; for files, --id-column names the column that holds the ids"
        )


def _interval(
    null: NullSample, tail: Tail, bins: npt.NDArray[np.int64], pairs: float, seed: int
) -> tuple[Doubles, Doubles]:
    curves = [
        refitted(tail, histogram).above()[bins] / histogram.sum() * pairs
        for histogram in null.redrawn(_REDRAWN, seed)
    ]
    low, high = np.percentile(np.array(curves), _INTERVAL, axis=0)
    return low, high


def _found(
    rows: npt.NDArray[Any],
    null: NullSample,
    thresholds: Doubles,
    bins: npt.NDArray[np.int64],
    seed: int,
) -> Doubles:
    """Pairs that reach each threshold: all of them, or from some rows joined with all."""
    histogram = null.histogram()
    above = np.append(np.cumsum(histogram[::-1])[::-1], 0.0)
    count = len(rows)
    if null.rows == count:
        seen: Doubles = above[bins]
        return seen
    scaled: Doubles = above[bins] / null.pairs * (count * (count - 1) / 2)
    # Low scores are plenty in the sample; high ones are rare there, and counted for some rows against all.
    expected = scaled / (count * (count - 1) / 2) * _JOINED * count
    few = expected <= _MOST_FOUND
    if not few.any():
        return scaled
    start = int(np.argmax(few))
    drawn = np.sort(np.random.default_rng(seed + 1).permutation(count)[:_JOINED])
    joined = near_pairs(rows[drawn], float(thresholds[start]), other=rows)
    scores = np.sort(joined.score[drawn[joined.i] != joined.j])
    counted = len(scores) - np.searchsorted(scores, thresholds[start:], side="left")
    scaled[start:] = counted / len(drawn) * count / 2
    return scaled


def _copies(
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    distinct: npt.NDArray[np.int64],
    embed: EmbedTexts | None,
    copies: int,
    seed: int,
) -> tuple[Doubles, npt.NDArray[np.str_]]:
    """Scores of edited copies with their originals, and each one's kind of edit."""
    if embed is None or copies < 1:
        return np.zeros(0), np.zeros(0, dtype=np.str_)
    drawn = distinct[np.random.default_rng(seed + 2).permutation(len(distinct))]
    originals: list[int] = []
    kinds: list[str] = []
    made: list[str] = []
    names = list(EDITS)
    for record in drawn.tolist():
        if len(made) == copies:
            break
        kind = names[len(made) % len(names)]
        copy = edited(texts[record], kind)
        if copy != texts[record] and copy.strip():
            originals.append(record)
            kinds.append(kind)
            made.append(copy)
    if not made:
        return np.zeros(0), np.zeros(0, dtype=np.str_)
    answered, refused = embed(made)
    scores = np.einsum(
        "ij,ij->i", unit_rows(vectors).take(np.array(originals)), unit_rows(answered).take(slice(None))
    )
    same = np.array([plain(copy) == plain(texts[record]) for copy, record in zip(made, originals, strict=True)])
    scores[same] = 1.0
    kept = np.setdiff1d(np.arange(len(made)), np.array(refused, dtype=np.int64))
    return scores[kept], np.array(kinds)[kept]


def _choose(levels: Sequence[Level], labels: LabelScores | None) -> tuple[float, str]:
    if labels is not None:
        return round(labels.threshold, SCORE_DECIMALS), (
            f"the best F1 on {labels.pairs:,} labelled pairs lies there ({labels.f1:.3f}: precision "
            f"{labels.precision:.3f}, recall {labels.recall:.3f})"
        )
    true = [max(0.0, level.found - level.false) for level in levels]
    sure = [k for k, level in enumerate(levels) if level.found >= _SURE * max(level.false_high, 1.0)]
    if sure:
        every = max(true[k] for k in sure)
        f1 = {k: 2 * true[k] / (levels[k].found + every) for k in sure}
        level = levels[min(k for k in sure if f1[k] >= max(f1.values()) - _AS_GOOD)]
        return level.threshold, (
            f"false pairs and missed ones balance best there (highest estimated F1): of {level.found:,.0f} pairs "
            f"found about {about(level.false)} are expected to be false, "
            f"90 % interval {about(level.false_low)} to {about(level.false_high)}"
        )
    rare = next((level for level in levels if level.false_high < 1), levels[-1])
    return rare.threshold, (
        f"no threshold finds more pairs than are expected by chance; at this one at most {about(rare.false_high)} "
        "false pairs are expected"
    )
