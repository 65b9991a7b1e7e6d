"""Timing: every stage apart, competitors in turns, and what the numbers depend on."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np


def compile_in_stages(function: Callable, *arguments: Any) -> tuple[Any, dict[str, float]]:
    """Traces, lowers, compiles and calls a function once, timing each; also the peak memory by XLA's own analysis.

    Returns:
        The compiled function, and seconds by stage with `peak_bytes`.
    """
    report = {}
    start = time.perf_counter()
    traced = jax.jit(function).trace(*arguments)
    report["trace"] = time.perf_counter() - start
    start = time.perf_counter()
    lowered = traced.lower()
    report["lower"] = time.perf_counter() - start
    start = time.perf_counter()
    compiled = lowered.compile()
    report["compile"] = time.perf_counter() - start
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    report["first_call"] = time.perf_counter() - start
    if memory := compiled.memory_analysis():
        used = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        report["peak_bytes"] = used - memory.alias_size_in_bytes
    return compiled, report


def in_turns(
    contenders: Mapping[str, Callable[[int], float | None]], repeats: int, warm_up: int = 2
) -> dict[str, dict[str, float]]:
    """Times contenders A, B, C, A, B, C, ... so that a busy machine hurts all alike.

    Args:
        contenders: Functions of the repetition's number, which block until done; one may return its own seconds.
        repeats: Timed calls of each.
        warm_up: Calls of each before.

    Returns:
        For each: seconds as minimum, 10th percentile, median and 90th percentile, and the median of the quotient to the
        first contender of the same turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-warm_up, repeats):
        for name, call in contenders.items():
            start = time.perf_counter()
            own = call(turn)
            elapsed = own if own is not None else time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed)
    first = np.array(next(iter(seconds.values())))
    return {
        name: {
            "minimum": float(np.min(values)),
            "p10": float(np.percentile(values, 10)),
            "median": float(np.median(values)),
            "p90": float(np.percentile(values, 90)),
            "ratio_to_first": float(np.median(np.array(values) / first)),
        }
        for name, values in seconds.items()
    }


def hand_back_memory() -> None:
    """Gives the kernel the freed memory back that `jaxedit.memory.keep_freed_memory` keeps."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def environment() -> dict[str, Any]:
    """Hardware, versions and state of the source that a number belongs to."""
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compilation_cache": jax.config.jax_compilation_cache_dir,  # pyright: ignore[reportAttributeAccessIssue]
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "jaxedit", "benchmarks")),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:
        return ""
    return found.stdout.strip()
