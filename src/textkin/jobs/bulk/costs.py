"""What the form of the numbers costs: measured once a job, kept with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from textkin.jobs.bulk.fidelity import Fidelity, measure
from textkin.jobs.bulk.manifest import Settings
from textkin.jobs.bulk.place import WORK, Place, read_json, write_json
from textkin.types import Matrix

_FIDELITY: Final = f"{WORK}/fidelity.json"
_SAMPLE: Final = 20_000


class Costs:
    """What the form of the numbers costs, measured once a job, on the first shard that it makes."""

    def __init__(self, place: Place, settings: Settings, tell: Callable[[Fidelity], None] | None) -> None:
        self._place = place
        self._settings = settings
        self._tell = tell

    def look_at(self, vectors: Matrix) -> None:
        """Measure and tell, unless an earlier run did."""
        settings = self._settings
        same = settings.dtype == "float32" and settings.dimensions == vectors.shape[1]
        if same or len(vectors) < 2 or self.known() is not None:
            return
        found = measure(vectors[:_SAMPLE], settings.dtype, settings.dimensions)  # type: ignore[arg-type]
        if self._tell is not None:
            self._tell(found)
        write_json(self._place, _FIDELITY, found.to_dict() | {"text": str(found)} | self._form())

    def known(self) -> Mapping[str, Any] | None:
        """What was found for this form; None where nothing had to be measured, or not yet."""
        facts = read_json(self._place, _FIDELITY)
        form = self._form()
        return facts if facts is not None and {name: facts.get(name) for name in form} == form else None

    def _form(self) -> dict[str, Any]:
        return {"dtype": self._settings.dtype, "dimensions": self._settings.dimensions}
