"""The whole-number bound is never below the cosine, and pruning never loses a partner, rounding included."""

from __future__ import annotations

import numpy as np
import pytest

from textkin.duplicates.cells import Cells, _between, _centres, _reached
from textkin.duplicates.frame import NEVER, Centred, Frame, WordRows, centred_axes, make_frame, quantise
from textkin.duplicates.unit_rows import UnitRows, unit_rows

RNG = np.random.default_rng(3)


def _text_like(n: int, d: int) -> np.ndarray:
    rows = RNG.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.6 + 0.3
    rows[::3] = rows[1::3][: len(rows[::3])] + 0.02 * RNG.standard_normal(rows[::3].shape)
    return rows


DATA = {
    "like texts": _text_like(600, 120),
    "noise": RNG.standard_normal((600, 120)),
    "low rank": RNG.standard_normal((600, 3)) @ RNG.standard_normal((3, 120)),
    "one direction": np.ones((600, 120)),
    "nearly one direction": 1 + 1e-6 * RNG.standard_normal((600, 120)),
    "zeros": np.zeros((600, 120)),
    "some zeros": _text_like(600, 120) * (np.arange(600) % 5 > 0)[:, None],
    "copies": np.repeat(RNG.standard_normal((20, 120)), 30, axis=0),
    "one axis each": np.eye(600)[:, :120],
    "opposites": np.concatenate([np.ones((300, 120)), -np.ones((300, 120))]),
    "huge and tiny": RNG.standard_normal((600, 120)) * 10.0 ** RNG.integers(-200, 200, (600, 1)),
    "one far row": np.concatenate([1 + 0.01 * RNG.standard_normal((599, 120)), np.eye(1, 120)]),
}


def _made(rows: UnitRows, sample: np.ndarray, axes: int, bits: int) -> tuple[Centred, Frame, WordRows]:
    centred = centred_axes(sample, axes)
    everything = centred.split(rows, slice(0, rows.count))
    frame = make_frame(centred, tuple(part[::7] for part in everything), axes, bits, 4)  # type: ignore[arg-type]
    return centred, frame, quantise(frame, everything)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("axes", [3, 31, 120])
@pytest.mark.parametrize("name", DATA)
def test_sums_bound_the_cosines(name: str, axes: int, bits: int) -> None:
    rows = unit_rows(DATA[name])
    unit = rows.take(slice(None))
    _, frame, words = _made(rows, unit[::5], axes, bits)
    assert frame.margin < 1e-7
    largest = float(words.size.max())
    sums = words.components.astype(np.int64) @ words.components.T.astype(np.int64)
    sums += words.starts(frame, largest)
    cosines = np.round(unit @ unit.T, 12)
    for threshold in (1.0, 0.99, 0.95, 0.8, 0.6, 0.1):
        stays = sums >= words.borders(frame, threshold, largest)[:, None]
        assert stays[cosines >= threshold].all()
    # The border of the pair's own cosine, which leaves no slack to hide behind.
    own = frame.scale**2 * (cosines - frame.margin - words.add[:, None] - words._spare(frame, largest)[:, None])
    assert (sums >= np.floor(own) - 1).all()
    assert np.abs(sums).max() < NEVER


@pytest.mark.parametrize("bits", [8, 16])
def test_axes_of_other_rows_only_loosen_the_bound(bits: int) -> None:
    rows = unit_rows(DATA["noise"])
    unit = rows.take(slice(None))
    strange = unit_rows(DATA["low rank"]).take(slice(0, 90))
    _, frame, words = _made(rows, strange, 15, bits)
    largest = float(words.size.max())
    sums = words.components.astype(np.int64) @ words.components.T.astype(np.int64) + words.starts(frame, largest)
    assert (sums >= words.borders(frame, 0.3, largest)[:, None])[unit @ unit.T >= 0.3].all()


def test_the_bound_is_tight_on_rows_like_texts() -> None:
    rows = unit_rows(DATA["like texts"])
    unit = rows.take(slice(None))
    _, frame, words = _made(rows, unit, 63, 8)
    largest = float(words.size.max())
    sums = words.components.astype(np.int64) @ words.components.T.astype(np.int64) + words.starts(frame, largest)
    left = (sums >= words.borders(frame, 0.95, largest)[:, None]).sum()
    reach = (unit @ unit.T >= 0.95).sum()
    assert reach <= left < 3 * reach


@pytest.mark.parametrize("threshold", [0.99, 0.9, 0.7])
@pytest.mark.parametrize("name", DATA)
def test_pruning_keeps_every_partner(name: str, threshold: float) -> None:
    rows = unit_rows(DATA[name])
    unit = rows.take(slice(None))
    _, frame, words = _made(rows, unit[::5], 31, 8)
    cells = _cells(words, frame, threshold)
    meets = cells.may_meet(words.components, words.off)
    i, j = np.nonzero(unit @ unit.T >= threshold)
    assert meets[i, cells.of[j]].all()


def test_pruning_leaves_out_most_where_rows_lie_apart() -> None:
    centres = RNG.standard_normal((12, 60))
    rows = unit_rows(centres[RNG.integers(0, 12, 2000)] + 0.05 * RNG.standard_normal((2000, 60)))
    unit = rows.take(slice(None))
    _, frame, words = _made(rows, unit, 31, 8)
    assert _cells(words, frame, 0.95).may_meet(words.components, words.off).mean() < 0.2


def _cells(words: WordRows, frame: Frame, threshold: float) -> Cells:
    centres = _centres(words.components, frame, 12)
    radius = float(np.sqrt(2 - 2 * threshold)) + 1e-5
    return _reached(words, None, frame, centres, _between(centres), radius, None)


@pytest.mark.parametrize("apart", [1e-4, 1e-2, 1.0])
def test_distances_between_centres_are_never_too_small(apart: float) -> None:
    dice = np.random.default_rng(0)
    centres = (np.full((1, 260), 0.17) + apart / 16 * dice.standard_normal((300, 260))).astype(np.float32)
    exact = centres.astype(np.float64)
    true = np.array([np.linalg.norm(exact - one, axis=1) for one in exact])
    between = _between(centres)
    assert (between >= true).all()
    assert (between <= true + 2e-4).all()


def test_cells_hold_each_row_once_in_padded_places() -> None:
    rows = unit_rows(DATA["like texts"])
    _, frame, words = _made(rows, rows.take(slice(None)), 31, 8)
    cells = _cells(words, frame, 0.95)
    order, begins = cells.order()
    assert sorted(order[order >= 0].tolist()) == list(range(600))
    assert (begins % 64 == 0).all()
    for cell in range(12):
        inside = order[begins[cell] : begins[cell + 1]]
        assert (cells.of[inside[inside >= 0]] == cell).all()
