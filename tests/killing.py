"""Runs programs that get a signal at a chosen moment: before the n-th time that they change anything in a folder.

Between two such moments nothing happens on disk but writing to open files, so a few of them stand for all.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from jaxedit.memory import huge_pages_environment

ROOT = Path(__file__).resolve().parents[1]
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TIMES = ("images_per_second", "seconds")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


def run(
    arguments: Sequence[str], *, folder: Path, cache: Path, kill_at: int = 0, number: int = signal.SIGKILL
) -> tuple[int, int]:
    """Runs a program in a process of its own.

    Args:
        arguments: A script and its arguments, or `-m`, a module and its arguments.
        folder: Where changes are counted.
        cache: Folder for compiled programs.
        kill_at: The change before which the process gets the signal; 0 for none.
        number: The signal.

    Returns:
        The exit code, and how many changes there were.
    """
    with tempfile.NamedTemporaryFile(dir=cache.parent) as count:
        own = [sys.executable, __file__, str(folder), str(kill_at), str(int(number)), count.name]
        code = subprocess.run([*own, *arguments], env=environment(cache)).returncode
        return code, int(count.read() or 0)


def environment(cache: Path) -> dict[str, str]:
    """Of a process that compiles quickly, and nothing that another one has compiled."""
    return huge_pages_environment() | {  # with them the command line does not start itself anew
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def contents(folder: Path) -> dict[str, object]:
    """All files, hidden ones too; of logs what does not depend on the time."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{key: value for key, value in row.items() if key not in _TIMES} for row in rows]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def main(folder: str, kill_at: str, number: str, count: str, *arguments: str) -> None:
    """What the process does."""
    changes, lock = 0, threading.Lock()
    inside = os.path.join(os.path.realpath(folder), "")

    def hook(event: str, values: tuple) -> None:
        nonlocal changes
        changing = event in _CHANGES or (event == "open" and isinstance(values[2], int) and values[2] & _WRITES)
        if changing and isinstance(values[0], str | os.PathLike):
            if os.path.join(os.path.realpath(values[0]), "").startswith(inside):
                with lock:
                    changes += 1
                    if changes == int(kill_at):
                        os.kill(os.getpid(), int(number))

    sys.addaudithook(hook)
    sys.argv = list(arguments)
    try:
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        Path(count).write_text(str(changes))


if __name__ == "__main__":
    main(*sys.argv[1:])
