"""Disks that are full or fail while a bulk job writes: what it says, and whether it goes on once they are well.

A full disk is a small tmpfs; a failing one is ext4 on a loop device whose end is cut off, so that the kernel
itself answers EIO. Both need root and mounts of one's own; elsewhere the hook's traps stand in for them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from _bulk_cases import Place, Trap, Way
from _bulk_checks import Output, asked_for, at_end
from _bulk_victim import Victim

FULL, FAILED = 10, 8
_OWN_MOUNTS = "TEXTKIN_BENCH_OWN_MOUNTS"
_LOOP_SET_STATUS, _LOOP_GET_STATUS = 0x4C04, 0x4C05
_LOOP_INFO = struct.Struct("=5Q4I64s64s32s2Q")
_SIZE_LIMIT = 4
_IMAGE_BYTES = 512 << 20
_CUT_BYTES = 1 << 20
_WELL = "200m"


def can_mount() -> bool:
    """Whether this process may make mounts of its own."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    test = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(test, capture_output=True, check=False).returncode == 0


def has_loop_devices() -> bool:
    """Whether a file can be a disk here."""
    return Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None


def in_own_mounts() -> None:
    """Begin this very program again with mounts that nobody else sees, and that end with it; once is enough."""
    if can_mount() and _OWN_MOUNTS not in os.environ:
        os.environ[_OWN_MOUNTS] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


class Disk(Protocol):
    """Something that is mounted under a folder."""

    def spoil(self) -> None: ...

    def mend(self) -> None: ...

    def close(self) -> None: ...


class SmallDisk:
    """A tmpfs in memory, of so many bytes until it is mended."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))

    def spoil(self) -> None:
        """It is small from the start."""

    def mend(self) -> None:
        _run("mount", "-o", f"remount,size={_WELL}", str(self._folder))

    def close(self) -> None:
        _run("umount", str(self._folder))


class FailingDisk:
    """ext4 on a loop device: cut off, the kernel answers EIO; mended, it is checked and mounted anew."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._image = folder.with_name(f"{folder.name}.image")
        with self._image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(self._image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self._folder))
        self._device = _run("findmnt", "-n", "-o", "SOURCE", str(self._folder)).strip()

    def spoil(self) -> None:
        device = os.open(self._device, os.O_RDWR)
        try:
            facts = bytearray(_LOOP_INFO.size)
            fcntl.ioctl(device, _LOOP_GET_STATUS, facts)
            values = list(_LOOP_INFO.unpack(facts))
            values[_SIZE_LIMIT] = _CUT_BYTES
            fcntl.ioctl(device, _LOOP_SET_STATUS, _LOOP_INFO.pack(*values))
        finally:
            os.close(device)

    def mend(self) -> None:
        _run("umount", str(self._folder))
        # Its exit status is 1 where it had something to mend.
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        self._mount()

    def close(self) -> None:
        _run("umount", str(self._folder))
        self._image.unlink()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class DiskCase:
    """One way in which a job's disk fails.

    Attributes:
        what: happens.
        code: the exit code that it must end with.
        disk: what is mounted; None: the hook's trap breaks calls instead.
        under: what lies on it: ``out`` or ``data`` (the ledger).
        share: of the bytes that the folder takes in the end, for a small disk.
        trap: for the hook.
    """

    what: str
    code: int
    disk: Callable[[Path, int], Disk] | None = None
    under: str = "out"
    share: float = 0.5
    trap: Trap | None = None


def _trap(call: str, nth: int, number: int) -> Trap:
    return {"call": call, "nth": nth, "do": number}


CASES = (
    DiskCase("output on a full disk (tmpfs)", FULL, SmallDisk),
    DiskCase("ledger on a full disk (tmpfs)", FULL, SmallDisk, "data"),
    DiskCase("output on a disk that fails (EIO by the kernel)", FAILED, FailingDisk),
    DiskCase("ledger on a disk that fails (EIO by the kernel)", FAILED, FailingDisk, "data"),
    DiskCase("fsync fails (EIO by the hook)", FAILED, trap=_trap("fsync", 7, errno.EIO)),
    DiskCase("a rename fails (EIO by the hook)", FAILED, trap=_trap("replace", 5, errno.EIO)),
    DiskCase("no room at fsync (ENOSPC by the hook)", FULL, trap=_trap("fsync", 6, errno.ENOSPC)),
)


@dataclass(slots=True)
class DiskOutcome:
    """What a job did on a bad disk."""

    row: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)


def broken(
    case: DiskCase, way: Way, source: Path, wanted: Output, repeated: set[str], folder: Path
) -> DiskOutcome:
    """Run a job on a disk that fails, mend the disk, go on, and compare."""
    place = Place(folder / "disk")
    shutil.rmtree(place.folder, ignore_errors=True)
    target = place.folder / case.under
    target.mkdir(parents=True)
    found = DiskOutcome()
    if case.disk is None:
        assert case.trap is not None
        code, said = _spoilt_run(place, way, source, {**case.trap, "below": str(place.out)}, None)
        found.problems += _finished_run(place, way, source, wanted)
    elif not can_mount() or (case.disk is FailingDisk and not has_loop_devices()):
        return DiskOutcome((case.what, "-", "not tried: mounts need root", "-"))
    else:
        disk = case.disk(target, int(case.share * _bytes(wanted, case.under)))
        try:
            code, said = _spoilt_run(place, way, source, None, disk)
            disk.mend()
            found.problems += _finished_run(place, way, source, wanted)
        finally:
            disk.close()
    if code != case.code:
        found.problems.append(f"it ended with status {code}, not {case.code}")
    if "Traceback" in said or "error: " not in said:
        found.problems.append(f"it did not say plainly what is wrong: {said[-600:]!r}")
    asked = asked_for(place.log, repeated)
    found.problems = [f"{case.what}: {problem}" for problem in [*found.problems, *asked.problems]]
    last = next((line for line in reversed(said.splitlines()) if line.startswith("error: ")), "")
    found.row = (case.what, str(code), last.replace(str(place.folder), "DIR"), f"{asked.lost:,}")
    return found


def _spoilt_run(place: Place, way: Way, source: Path, trap: Trap | None, disk: Disk | None) -> tuple[int, str]:
    with Victim(place, way, source, "--resume", trap=trap) as victim:
        while disk is not None and victim.process.poll() is None:
            if any(place.out.glob("*.parquet")):
                disk.spoil()
                break
            time.sleep(0.005)
        return victim.finish(), victim.errors()


def _finished_run(place: Place, way: Way, source: Path, wanted: Output) -> Sequence[str]:
    with Victim(place, way, source, "--resume") as victim:
        if victim.finish() != 0:
            return [f"going on failed with status {victim.process.returncode}: {victim.errors()[-600:]}"]
    return at_end(place.out, wanted)


def _bytes(wanted: Output, under: str) -> int:
    """About what a folder takes in the end; the ledger has little beside the vectors."""
    vectors = wanted.vectors.nbytes
    return vectors if under == "out" else vectors + 200 * len(wanted.vectors)
