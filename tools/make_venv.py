"""Make a virtual environment with pip in it, also where Debian split ensurepip off from Python.

Usage: python3 tools/make_venv.py FOLDER
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)


def main() -> int:
    folder = Path(sys.argv[1])
    if sys.version_info < OLDEST:
        print(f"textkin needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}.")
        print("Name another one: make PYTHON=/path/to/python3 ...")
        return 1
    if importlib.util.find_spec("ensurepip") is not None:
        print(f"making the virtual environment {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        return 0
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    print(f"This Python can't make virtual environments: Debian keeps that part in the package {package}.")
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"Install it, then run make again:\n\n    sudo apt-get install -y {package}\n")
        return 1
    print(f"Installing {package} (running as root) ...", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"apt-get {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
            return 1
    # A new process: this one has already looked for ensurepip and found nothing.
    return subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
