"""What calibrating found: a table of thresholds with what to expect of each, and the one that ``auto`` takes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from textkin.duplicates.drawing import Curve, curves_svg
from textkin.duplicates.labels import LabelScores
from textkin.vectors.own_files import mode_beside, own_file, remove_abandoned
from textkin.vectors.sealed import sealed, unsealed
from textkin.vectors.writing import replacing

FILE: Final = "calibration.json"
_FORMAT: Final = 2
ADVICE: Final = (("near-copies", 0.95, 1.0), ("related", 0.70, 0.85), ("loosely related", 0.50, 0.70))
"""The usual advice: the same numbers for every model and every kind of text."""


@dataclass(frozen=True, slots=True)
class Level:
    """What to expect of one threshold.

    Attributes:
        threshold: cosine.
        found: pairs of different texts that reach it, counted or, in a large collection, estimated from a
            sample.
        false: of these, pairs that are expected to be no duplicates.
        false_low: by chance alone, lower end of the 90 % interval.
        false_high: at most: found pairs that neither look like copies nor are more than may be false.
        copies: of the found, those that differ like a copy with slips; where they were looked at.
        different: of the found, those with different numbers, a negation, or a word that stands for another
            as in other pairs.
        extrapolated: whether no random pair reached it, or duplicates had to be kept out there: what chance
            gives is then a curve that goes on, not a count.
        missed: share of lightly edited copies that stay below; None where none were made.
        missed_by: the same for each kind of edit.
    """

    threshold: float
    found: float
    false: float
    false_low: float
    false_high: float
    copies: float
    different: float
    extrapolated: bool
    missed: float | None
    missed_by: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of calibrating.

    Attributes:
        model: name of the model.
        fingerprint: of the model; the result belongs to it and to these texts.
        records: how many there were.
        texts: different ones among them, after Unicode and white-space normalisation.
        sampled: texts whose pairs make up the null.
        window: scores that the curve of unrelated pairs was fitted to; beyond its end it is extrapolated.
        fitted: whether the counts follow that curve in the window.
        copies: lightly edited copies that were embedded.
        levels: by threshold, ascending.
        labels: what labelled pairs say; None without.
        min_precision: share of the found pairs that were to be true at the least.
        min_score: the lowest score that ``auto`` could take.
        threshold: what ``auto`` takes.
        confident: whether the data can tell; if not, the threshold is a cautious number.
        why: a sentence on why it is that one, or why the data can't tell.
    """

    model: str
    fingerprint: str
    records: int
    texts: int
    sampled: int
    window: tuple[float, float]
    fitted: bool
    copies: int
    levels: tuple[Level, ...]
    labels: LabelScores | None
    min_precision: float
    min_score: float
    threshold: float
    confident: bool
    why: str

    def at(self, threshold: float) -> Level:
        """The level nearest to a threshold."""
        return min(self.levels, key=lambda level: abs(level.threshold - threshold))

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a level."""
        return [
            {
                "threshold": level.threshold,
                "found": level.found,
                "false": level.false,
                "false_low": level.false_low,
                "false_high": level.false_high,
                "extrapolated": level.extrapolated,
                "missed": level.missed,
            }
            for level in self.levels
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    def draw(self, path: str | Path | None = None) -> str:
        """Thresholds against expected false pairs, found pairs and missed copies, as an SVG drawing.

        Args:
            path: also write it to this file.
        """
        x = [level.threshold for level in self.levels]
        curves = [
            Curve("pairs found", "#228833", x, [level.found for level in self.levels]),
            Curve("false pairs expected", "#cc3311", x, [level.false for level in self.levels]),
            Curve("… at least, at most", "#ee9988", x, [level.false_low for level in self.levels], dashed=True),
            Curve("", "#ee9988", x, [level.false_high for level in self.levels], dashed=True),
        ]
        if self.copies:
            missed = [100 * (level.missed or 0.0) for level in self.levels]
            curves.append(Curve("edited copies missed, of 100", "#4477aa", x, missed))
        marks = [(self.threshold, f"auto {self.threshold:g}")]
        marks += [(low, f"advice: {name} {low:g}") for name, low, _ in ADVICE if low >= x[0]]
        drawing = curves_svg(curves, marks, f"{self.texts:,} texts, {self.model}")
        if path is not None:
            with replacing(path) as file:
                file.write(drawing.encode())
        return drawing

    def save(self, path: Path) -> bool:
        """Write it to a derived file; False where the place doesn't allow it."""
        remove_abandoned(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with own_file(path, mode=mode_beside(path), durable=False) as file:
                file.write(sealed(json.dumps(self.to_dict(), indent=1).encode("ascii")))
        except OSError:
            return False
        return True


def about(count: float) -> str:
    """A number that may be far below 1, for people."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.2g}"


def load_calibration(path: Path, fingerprint: str) -> Calibration | None:
    """What was saved; None where nothing is, it is another model's, or can't be read as one."""
    try:
        facts = unsealed(path.read_bytes())
        if facts.pop("format") != _FORMAT or facts["fingerprint"] != fingerprint:
            return None
        labels = facts.pop("labels")
        if labels is not None:
            at = tuple((float(r), float(p), float(t)) for r, p, t in labels.pop("precision_at"))
            labels = LabelScores(**labels, precision_at=at)
        levels = tuple(Level(**level) for level in facts.pop("levels"))
        low, high = facts.pop("window")
        return Calibration(**facts, levels=levels, labels=labels, window=(float(low), float(high)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
