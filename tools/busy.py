"""The tests in a random order, again and again, beside loops that keep the processor busy: none may notice.

python tools/busy.py [--rounds 3] [--loops 4] [PYTEST_ARGUMENT...]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(1_000_000))\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--seed", type=int, help="of the first order; by default another one each time")
    options, tests = parser.parse_known_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    loops = [subprocess.Popen([sys.executable, "-c", _LOOP]) for _ in range(options.loops)]
    try:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}: --shuffle {seed + number}", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", "--shuffle", str(seed + number)]
            done = subprocess.run([*command, *(tests or ["-n", "2", "-m", "not soak"])], check=False)
            if done.returncode != 0:
                return done.returncode
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
