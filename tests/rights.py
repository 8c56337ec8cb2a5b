"""Root's right to write everywhere, given up: modes bind a process then as they bind everybody."""

from __future__ import annotations

import ctypes
import os
import traceback
import warnings
from collections.abc import Callable

_NO_ROOT = 0x3  # SECBIT_NOROOT, locked: a program that this process starts doesn't get them back
_PR_SET_SECUREBITS = 28
_VERSION = 0x20080522


def give_up_rights() -> None:
    """Drop all capabilities of this process and of those it starts; of who isn't root nothing changes."""
    if os.name == "nt" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0) or libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "this process can't give up root's rights")


def without_rights(call: Callable[[], None]) -> None:
    """Call a function in a child that has given up its rights; what it raises fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside NumPy's idle threads
        child = os.fork()
    if child == 0:
        failed = 1
        try:
            give_up_rights()
            call()
            failed = 0
        except BaseException:  # noqa: BLE001  whatever it is, the parent hears of it
            traceback.print_exc()
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "see the traceback of the child"
