"""Which threshold? What each would find in these texts with this model, how much of it is false, what it misses.

The model of it: the pairs that reach a score are known (the join finds them all); which of them are duplicates is
not. Three kinds of evidence speak on a pair:

- *chance*: random pairs are the null; its tail, fitted below the scores where duplicates show and without the
  copies that the texts give away, says how many unrelated pairs reach a score. It never exceeds what is found.
- *its texts* (`textkin.duplicates.differing`): a copy with slips; a pair with contrary numbers or a "not";
  siblings, of a family in which one word stands for another; a word exchanged as elsewhere; or none of these.
- *contrary pairs and siblings as witnesses*: they are false, and their share among false pairs is known from lower
  scores, where nearly all are; so where there are many of them there are other false pairs too.

From these follow an estimate of the false pairs and two bounds of the true ones. Copies are true. So are unclear
pairs and exchanges that chance and witnesses don't explain even when doubled, but only half as many as there are
copies: alone they prove nothing. Siblings are false in the lower bound, and like unclear pairs in the upper one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.calibration import Calibration, Level
from textkin.duplicates.choice import MIN_PRECISION, MIN_SCORE, Bounds, choose
from textkin.duplicates.differing import Kind, pair_kinds
from textkin.duplicates.find import plain
from textkin.duplicates.join import near_pairs
from textkin.duplicates.labels import EmbedTexts, LabelScores, judge
from textkin.duplicates.null import BINS, LOW, WIDTH, NullSample, Tail, fit_tail, refitted, sample_null
from textkin.duplicates.perturb import EDITS, edited
from textkin.duplicates.unit_rows import SCORE_DECIMALS, Doubles, Numbers, unit_rows
from textkin.errors import InputError
from textkin.types import Progress

_FIRST: Final = 0.3
_STEP: Final = 4
"""Bins from one level to the next: 0.01 of score."""
_REDRAWN: Final = 200
_INTERVAL: Final = (5.0, 95.0)
_COPIES: Final = 256
_MOST_PAIRS: Final = 200_000
_PRODUCTS: Final = 400_000_000
"""Pairs of rows that are scored one by one: all of 28,000 rows, a part of the rows against all of more."""
_JOINED: Final = 2048
_READ: Final = 300
"""Pairs of a level whose texts are compared; of more, so many are drawn."""
_WITNESSES: Final = 10.0
_UNPROVEN: Final = 0.5
"""How many unclear pairs, for each copy, may count as true."""
_DOUBT: Final = 2.0
"""By how much more than estimated there may be false pairs: as far as extrapolating was off on known sets."""


def calibrate(
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    *,
    model: str,
    fingerprint: str,
    embed: EmbedTexts | None = None,
    labels: tuple[Doubles, Sequence[bool]] | None = None,
    copies: int = _COPIES,
    min_precision: float = MIN_PRECISION,
    min_score: float = MIN_SCORE,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Estimate, for each threshold, what it finds, how much of it is false, and how many near-copies stay below.

    How ``auto`` is chosen, and when it is said that the data can't tell: `textkin.duplicates.choice`.

    Args:
        texts: one a record.
        vectors: ``(n, d)`` unit rows, one a record.
        model: its name.
        fingerprint: the model's.
        embed: the model; None makes no copies.
        labels: scores of labelled pairs, and whether each is the same.
        copies: how many texts to edit and embed.
        min_precision: share of the found pairs that must be true at the least, where ``auto`` is sure.
        min_score: ``auto`` is never lower.
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
    pairs = len(rows) * (len(rows) - 1) / 2
    bins = np.arange(round((_FIRST - LOW) / WIDTH), BINS, _STEP)
    thresholds: Doubles = np.round(LOW + bins * WIDTH, 4).astype(np.float64)
    seen = _seen(
        [texts[record] for record in distinct.tolist()], rows, null, thresholds, seed, min(min_score, MIN_SCORE)
    )
    known = seen.copies / pairs * null.pairs
    unrelated = np.maximum(null.histogram() - known, 0.0)
    tail = fit_tail(unrelated)
    chance = tail.above(unrelated) / null.pairs * pairs
    low = _lowest(null, tail, known, bins, pairs, seed)
    counts = _counted(seen, chance[bins])
    scores, kinds = _copies(texts, vectors, distinct, embed, copies, seed)
    judged = None if labels is None else judge(*labels)
    begin = LOW + tail.end * WIDTH
    levels = tuple(
        Level(
            threshold=float(t),
            found=float(counts.found[k]),
            false=float(counts.false[k]),
            false_low=float(min(low[k], counts.false[k])),
            false_high=float(max(counts.found[k] - counts.true_low[k], counts.false[k])),
            copies=float(counts.kinds[k, Kind.COPY]),
            different=float(counts.kinds[k, [Kind.CONTRARY, Kind.SIBLING, Kind.EXCHANGE]].sum()),
            extrapolated=bool(t >= begin or chance[bins[k]] / pairs * null.pairs < 1),
            missed=float((scores < t).mean()) if len(scores) else None,
            missed_by={kind: float((scores[kinds == kind] < t).mean()) for kind in EDITS if (kinds == kind).any()},
        )
        for k, t in enumerate(thresholds)
    )
    if judged is None:
        bounds = Bounds(thresholds, counts.found, counts.false, counts.true_low, counts.true_high, counts.kinds)
        chosen, sure, why = choose(bounds, seen.start, min_precision, min_score)
    else:
        chosen, sure, why = _by_labels(judged, min_precision, min_score)
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
        min_precision=min_precision,
        min_score=min_score,
        threshold=chosen,
        confident=sure,
        why=why,
    )


def _by_labels(judged: LabelScores, min_precision: float, min_score: float) -> tuple[float, bool, str]:
    """The threshold of the best F1, whether the labels prove that it keeps the floors, and why."""
    threshold = round(judged.threshold, SCORE_DECIMALS)
    why = (
        f"the best F1 on {judged.pairs:,} labelled pairs lies there ({judged.f1:.3f}: precision "
        f"{judged.precision:.3f}, recall {judged.recall:.3f})"
    )
    if threshold < min_score:
        return threshold, False, f"{why}, but that is below the least score of {min_score:g} (--min-score)"
    if judged.precision_low < min_precision:
        return (
            threshold,
            False,
            (
                f"{why}, but so few labels only show a precision of at least {judged.precision_low:.2f}, and "
                f"{min_precision:g} is asked for (--min-precision): judge more pairs"
            ),
        )
    return threshold, True, why


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is known of the pairs that are found.

    Attributes:
        found: ``(levels,)`` pairs that reach each level.
        kinds: ``(levels, 5)`` of them by kind, in the levels from ``start`` on.
        copies: ``(BINS,)`` pairs that are copies by their texts, by score.
        start: first level whose pairs were looked at.
    """

    found: Doubles
    kinds: Doubles
    copies: Doubles
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """``(levels,)`` each, from the level up: found, of these false, and true at least and at most; and kinds."""

    found: Doubles
    false: Doubles
    true_low: Doubles
    true_high: Doubles
    kinds: Doubles


def _seen(
    texts: Sequence[str], rows: npt.NDArray[Any], null: NullSample, thresholds: Doubles, seed: int, least: float
) -> _Seen:
    """Find the pairs from a score on, all or those of some rows with all, and read their texts."""
    count = len(rows)
    pairs = count * (count - 1) / 2
    histogram = null.histogram()
    above = np.append(np.cumsum(histogram[::-1])[::-1], 0.0)
    bins = np.round((thresholds - LOW) / WIDTH).astype(np.int64)
    found: Doubles = above[bins] / null.pairs * pairs
    joined = count if pairs <= _PRODUCTS else max(_JOINED, _PRODUCTS // count)
    share = joined / count
    few = np.flatnonzero((thresholds >= least - 1e-9) & (found * min(1.0, 2 * share) <= _MOST_PAIRS))
    if not len(few):
        # Even the highest level has too many: some rows are enough.
        joined = max(2, int(joined * _MOST_PAIRS / (found[-1] * min(1.0, 2 * share))))
        few = np.array([len(thresholds) - 1])
    start = int(few[0])
    dice = np.random.default_rng(seed + 1)
    if joined < count:
        drawn = np.sort(dice.permutation(count)[:joined])
        near = near_pairs(rows[drawn], float(thresholds[start]), other=rows)
        other = drawn[near.i] != near.j
        i, j, scores, weight = drawn[near.i[other]], near.j[other], near.score[other], count / joined / 2
    else:
        near = near_pairs(rows, float(thresholds[start]))
        i, j, scores, weight = near.i, near.j, near.score, 1.0
    level = np.searchsorted(thresholds, scores + 1e-9, side="right") - 1
    held = np.bincount(level, minlength=len(thresholds))[: len(thresholds)].astype(np.float64)
    found[start:] = np.cumsum((held * weight)[::-1])[::-1][start:]
    drawn_pairs = np.sort(dice.permutation(len(scores)))
    drawn_pairs = drawn_pairs[_rank_within(level[drawn_pairs], dice) < _READ]
    each = pair_kinds(texts, i[drawn_pairs], j[drawn_pairs], scores[drawn_pairs])
    which = level[drawn_pairs]
    worth: Doubles = held[which] / np.bincount(which, minlength=len(held))[which] * weight
    kinds = np.zeros((len(thresholds), len(Kind)))
    np.add.at(kinds, (which, each.astype(np.int64)), worth)
    kinds = np.cumsum(kinds[::-1], axis=0)[::-1]
    is_copy = each == Kind.COPY
    places = np.clip(((scores[drawn_pairs[is_copy]] - LOW) / WIDTH).astype(np.int64), 0, BINS - 1)
    copies = np.bincount(places, weights=worth[is_copy], minlength=BINS).astype(np.float64)
    return _Seen(found, kinds, copies, start)


def _rank_within(groups: Numbers, dice: np.random.Generator) -> Numbers:
    """A random rank of each within its group, from 0."""
    order = np.lexsort((dice.random(len(groups)), groups))
    ranked = groups[order]
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(ranked, ranked, side="left")
    return ranks


def _counted(seen: _Seen, chance: Doubles) -> _Counts:
    """Put the evidence together.

    Args:
        seen: the pairs.
        chance: ``(levels,)`` unrelated pairs expected from each level on.
    """
    found, kinds = _each(seen.found), _each(seen.kinds)
    expected = np.maximum(_each(chance), 0.0)
    looked = np.arange(len(found)) >= seen.start
    others: Doubles = np.where(looked, found - kinds[:, Kind.COPY], found)
    contrary, siblings = kinds[:, Kind.CONTRARY], kinds[:, Kind.SIBLING]
    # Where chance explains at least half of what is found, nearly all is false: how many witnesses are there?
    nearly_all = looked & (expected * _DOUBT >= others)

    def estimated(witnesses: Doubles) -> Doubles:
        seen_there = witnesses[nearly_all].sum()
        ratio = others[nearly_all].sum() / seen_there if seen_there >= _WITNESSES else 1.0
        return np.minimum(np.maximum(expected, witnesses * ratio), others)

    false = estimated(contrary + siblings)
    copies, unclear = _above(kinds[:, Kind.COPY]), _above(kinds[:, Kind.UNCLEAR] + kinds[:, Kind.EXCHANGE])
    doubt = _DOUBT * _above(np.maximum(false - contrary - siblings, 0.0))
    true_low = copies + np.clip(unclear - doubt, 0.0, _UNPROVEN * copies)
    doubt = _DOUBT * _above(np.maximum(estimated(contrary) - contrary, 0.0))
    true_high = copies + np.maximum(unclear + _above(siblings) - doubt, 0.0)
    low, high = (np.maximum.accumulate(some[::-1])[::-1] for some in (true_low, true_high))
    return _Counts(seen.found, np.minimum(_above(false), seen.found), low, high, seen.kinds)


def _each(above: Doubles) -> Doubles:
    """What lies between each level and the next, of what lies above each."""
    each: Doubles = above - np.concatenate([above[1:], np.zeros_like(above[:1])])
    return each


def _above(each: Doubles) -> Doubles:
    summed: Doubles = np.cumsum(each[::-1], axis=0)[::-1]
    return summed


def _lowest(null: NullSample, tail: Tail, known: Doubles, bins: Numbers, pairs: float, seed: int) -> Doubles:
    """What chance gives at the least: the fifth percentile over other draws of texts."""
    curves = []
    for histogram in null.redrawn(_REDRAWN, seed):
        unrelated = np.maximum(histogram - known, 0.0)
        curves.append(refitted(tail, unrelated).above(unrelated)[bins] / histogram.sum() * pairs)
    low: Doubles = np.percentile(np.array(curves), _INTERVAL[0], axis=0)
    return low


def _copies(
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    distinct: Numbers,
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
