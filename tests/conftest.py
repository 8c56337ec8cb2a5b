"""What every test gets: folders of its own instead of the user's, and no network by accident."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point textkin's data and cache folders to a new temporary folder."""
    place = tmp_path_factory.mktemp("textkin")
    monkeypatch.setenv("TEXTKIN_DATA", str(place / "data"))
    monkeypatch.setenv("TEXTKIN_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return place
