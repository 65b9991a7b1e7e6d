"""How the process deals with freed memory."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes the C library keep freed buffers instead of handing them back to the kernel, for the whole process.

    XLA's CPU backend allocates its work space anew for every call: 416 MB for one 1024 px image. With glibc's defaults
    the kernel clears those pages each time, which is a quarter to a third of the run time there. The command line and
    the benchmarks call this first; a program that imports the library may. Call it before the first JAX computation.
    The process then stays at its largest size until it ends. XLA on GPU and TPU has its own
    allocator: nothing changes there.

    Returns:
        Whether the C library understood: True on Linux with glibc, False elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(option, value) for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    )
