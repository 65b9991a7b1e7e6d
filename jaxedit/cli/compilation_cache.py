"""Compiled programs, which the command line keeps in the user's cache folder for the next run.

JAX trusts what it finds there, as it executes it; so nobody else may write to the folder.
"""

from __future__ import annotations

import builtins
import glob
import os
import re
import sys
import warnings
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

_MAX_BYTES = 1 << 30
_ENTRY, _USED = "-cache", "-atime"  # how JAX names a program, and the time of its last use
_FAILED = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']*)': (\w+): (.*)", re.DOTALL
)


def enable(choice: str | None) -> None:
    """Makes JAX keep what it compiles in this process, if it can; else a warning says why not.

    Args:
        choice: A folder, or "off". None is what JAX is set to already, such as by JAX_COMPILATION_CACHE_DIR, or else
            `default_folder`.
    """
    if choice is None and jax.config.jax_compilation_cache_dir:
        return
    jax.config.update("jax_compilation_cache_dir", None)
    if choice == "off":
        return
    try:
        folder = default_folder() if choice is None else Path(choice).absolute()
        _prepare(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        warnings.warn(f"compiled programs are not kept for the next run: {error}", stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # these have no bound


def default_folder() -> Path:
    """`jaxedit` in the folder for caches of the user that this system has."""
    home = Path.home()
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = home / "Library" / "Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(root) / "jaxedit"


def _prepare(folder: Path) -> None:
    """Makes the folder if it is not there; an OSError if it can't be used."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if sys.platform != "win32":
        if found.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user, whose programs would be executed")
        if found.st_mode & 0o022:
            raise PermissionError(f"others may write to {folder}, and their programs would be executed (chmod go-w)")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not readable and writable")
    # A killed process may not have written when its entry was last used; JAX 0.10 stops at that.
    for entry in folder.glob(f"*{_ENTRY}"):
        used = entry.with_name(entry.name.removesuffix(_ENTRY) + _USED)
        if not used.exists():
            used.write_bytes(bytes(8))


def explained(warning: str) -> str:
    """What to tell about a warning; if it is one of JAX about a cache that fails, also makes it the last.

    JAX never replaces an entry. So one that can't be read is removed, and written again when its program is compiled.
    If the folder itself can't be read or written, JAX goes on without.

    Args:
        warning: The warning's text.

    Returns:
        One line.
    """
    folder = jax.config.jax_compilation_cache_dir
    if folder is None or (match := _FAILED.match(warning)) is None:
        return warning
    action, program, kind, reason = match.groups()
    if action == "reading" and not (kind == "Timeout" or issubclass(getattr(builtins, kind, Exception), OSError)):
        for entry in Path(folder).glob(f"{glob.escape(program)}-*{_ENTRY}"):
            entry.unlink(missing_ok=True)
        return f"a damaged program in {folder} was removed and is compiled anew"
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    return f"compiled programs are not kept for the next run: {folder}: {reason}"
