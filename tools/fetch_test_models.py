"""Bring the two models that the tests use to the user's cache, verified; silent where they are already."""

from __future__ import annotations

import sys
import time

from textkin.errors import TextkinError
from textkin.models import weights

NAMES = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")


def main() -> int:
    """Exit code 0 when both models are here."""
    try:
        for name in NAMES:
            if weights.locate(name) is None:
                started = time.monotonic()
                folder = weights.fetch(name)
                print(f"{name}: fetched and verified in {time.monotonic() - started:.1f} s, {folder}")
    except TextkinError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
