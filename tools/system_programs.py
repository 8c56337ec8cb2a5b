"""Install what the tests need from the system: run by `make test`.

Usage: python tools/system_programs.py
As root where there is apt-get it installs what is missing; elsewhere it prints the one command and ends with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

PROGRAMS: Final = {"pgbouncer": "pgbouncer"}
"""Program to the Debian package that brings it."""


def missing() -> list[str]:
    """Packages whose program is not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return sorted(package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None)


def main() -> int:
    packages = missing()
    if not packages:
        return 0
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"The tests need {', '.join(packages)}. Install it, then run make test again:\n", file=sys.stderr)
        print(f"    sudo apt-get install -y {' '.join(packages)}\n", file=sys.stderr)
        return 1
    print(f"Installing {', '.join(packages)} (running as root) ...", file=sys.stderr, flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"apt-get {' '.join(command)} failed:\n{done.stdout}{done.stderr}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
