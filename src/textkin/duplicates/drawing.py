"""Drawings in SVG, made without a plotting library: bars of a report, curves of a calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 640
_LEFT: Final = 70
_PLOT: Final = 180
_BINS: Final = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart with logarithmic heights.

    Attributes:
        name: for the legend; empty for a line that belongs to the one before.
        colour: of SVG.
        x: places, ascending.
        y: heights; what is 0 or less is left out.
        dashed: whether it is drawn so.
    """

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def report_svg(scores: Sequence[float], sizes: Sequence[int], threshold: float, title: str) -> str:
    """Two bar charts: pairs by score from the threshold to 1, groups by their number of records."""
    edges = [threshold + (1.0 - threshold) * place / _BINS for place in range(_BINS + 1)]
    counts = [0] * _BINS
    width = (1.0 - threshold) / _BINS
    for score in scores:
        counts[min(_BINS - 1, int((score - threshold) / width)) if width > 0 else _BINS - 1] += 1
    labels = [f"{edge:.3f}" if place % 5 == 0 else "" for place, edge in enumerate(edges[:-1])]
    by_size = Counter(sizes)
    largest = sorted(by_size)
    body = _bars("pairs by score", counts, labels, 50)
    body += _bars("groups by number of records", [by_size[size] for size in largest], list(map(str, largest)), 290)
    return _svg(530, title, body)


def curves_svg(curves: Sequence[Curve], marks: Sequence[tuple[float, str]], title: str) -> str:
    """Curves over thresholds, heights on a logarithmic scale, and vertical marks with their names."""
    low = min((x for curve in curves for x in curve.x), default=0.0)
    high = max((x for curve in curves for x in curve.x), default=1.0)
    heights = [y for curve in curves for y in curve.y if y > 0]
    bottom = math.floor(math.log10(max(min(heights, default=1e-6), 1e-6)))
    top = max(bottom + 1, math.ceil(math.log10(max(heights, default=1.0))))
    tall, upper = 320, 60

    def across(x: float) -> float:
        return _LEFT + (x - low) / max(high - low, 1e-9) * (_WIDTH - _LEFT - 20)

    def down(y: float) -> float:
        return upper + tall * (1 - (max(math.log10(y), bottom) - bottom) / (top - bottom))

    parts = []
    for power in range(bottom, top + 1):
        at = down(10.0**power)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, at + 4, f"1e{power}" if abs(power) > 3 else f"{10.0**power:g}", "end"))
    for step in range(6):
        x = low + (high - low) * step / 5
        parts.append(_text(across(x), upper + tall + 18, f"{x:.2f}", "middle"))
    for number, (x, name) in enumerate(marks):
        at = across(x)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{upper}" y2="{upper + tall}" stroke="#888"/>')
        parts.append(_text(at + 4, upper + 14 + 14 * (number % 4), name, "start"))
    for curve in curves:
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True) if y > 0)
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        parts.append(f'<polyline fill="none" stroke="{curve.colour}"{dash} points="{points}"/>')
    named = [curve for curve in curves if curve.name]
    for number, curve in enumerate(named):
        at = upper + tall + 40 + 16 * number
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + 30}" y1="{at - 4}" y2="{at - 4}" stroke="{curve.colour}"{dash}/>'
        )
        parts.append(_text(_LEFT + 38, at, curve.name, "start"))
    return _svg(upper + tall + 50 + 16 * len(named), title, parts)


def _bars(title: str, counts: Sequence[int], labels: Sequence[str], top: int) -> list[str]:
    parts = [_text(_LEFT, top, title, "start")]
    most = max(counts, default=0)
    step = (_WIDTH - _LEFT - 20) / max(len(counts), 1)
    base = top + 15 + _PLOT
    parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{base}" y2="{base}" stroke="#444"/>')
    parts.append(_text(_LEFT - 6, base, "0", "end"))
    if most:
        parts.append(_text(_LEFT - 6, top + 25, f"{most:,}", "end"))
    for place, (count, label) in enumerate(zip(counts, labels, strict=True)):
        x, tall = _LEFT + place * step, _PLOT * count / most if most else 0
        if count:
            parts.append(
                f'<rect x="{x + step * 0.1:.1f}" y="{base - tall:.1f}" width="{step * 0.8:.1f}" '
                f'height="{tall:.1f}" fill="#4477aa"><title>{escape(label)} {count:,}</title></rect>'
            )
        if label and (len(labels) <= 25 or place % (len(labels) // 12) == 0):
            parts.append(_text(x + step / 2, base + 16, label, "middle"))
    return parts


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(height: int, title: str, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12" role="img">'
    )
    parts = [
        head,
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(20, 24, title, "start"),
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts)
