"""How sure a share is that was counted on a sample."""

from __future__ import annotations

import math
from typing import Final

_Z: Final = 1.959963984540054
"""The normal distribution's 97.5 % point: 95 % lie within."""


def wilson_interval(hits: float, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927, "Probable inference, the law of succession").

    Args:
        hits: how many of the sample; a fraction where the sample is an effective one.
        total: the sample's size; 0 gives 0 to 1.

    Returns:
        Lower and upper end, within 0 and 1.
    """
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    weight = _Z * _Z / total
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)
