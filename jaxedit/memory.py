"""How the process gets the work space of XLA's CPU backend, which is allocated anew for every call."""

import ctypes
import os
import sys

_TUNABLE = "glibc.malloc.hugetlb"
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def huge_pages_environment() -> dict[str, str]:
    """This process's environment, plus `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`.

    XLA allocates its work space anew for every call on the CPU (416 MB for one 1024 px image), and the kernel clears
    each page at its first use. With pages of 2 MiB instead of 4 KiB a 1024 px image takes 0.8 times and a gradient 0.7
    times as long. The setting has to be there when a process starts; other C libraries ignore it.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in tunables:
        return dict(os.environ)
    return os.environ | {"GLIBC_TUNABLES": ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))}


def restart_with_huge_pages() -> None:
    """Starts the running command anew with `huge_pages_environment`, unless it is set already or this is not Linux.

    For programs only, before anything else is imported: the command line does so.
    """
    if sys.platform.startswith("linux") and _TUNABLE not in os.environ.get("GLIBC_TUNABLES", ""):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], huge_pages_environment())


def keep_freed_memory() -> bool:
    """Makes the C library keep freed buffers for the next call instead of handing them back to the kernel.

    As good as huge pages for a loop that calls the same programs over and over, and steadier beside other large
    processes, with which huge pages compete for unbroken memory; the benchmarks use it. Not for programs that allocate
    other things in between: their buffers break the kept memory up, and the process grows. Call it first.

    Returns:
        Whether the C library understood: True on Linux with glibc, False elsewhere.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    return mallopt is not None and all(mallopt(option, value) for option, value in options)
