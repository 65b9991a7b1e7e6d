"""The process of `benchmarks.peers.random_face`: answers requests on its standard input.

Needs OpenVINO and NumPy, not JAX, and imports nothing of this package.
"""

from __future__ import annotations

import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov  # pyright: ignore[reportMissingImports]


def _compiled(wheel: Path, precision: str, batch: int) -> Any:
    core = ov.Core()  # pyright: ignore[reportAttributeAccessIssue]
    with zipfile.ZipFile(wheel) as archive:
        text, weights = (archive.read(f"random_face/data/SynthesisNetwork.{end}") for end in ("xml", "bin"))
    numbers = ov.Tensor(np.frombuffer(weights, np.uint8).copy())  # pyright: ignore[reportAttributeAccessIssue]
    model = core.read_model(text, numbers)
    if batch > 1:
        model.reshape([batch, 512])
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})


def _serve(wheel: Path, precision: str, folder: Path) -> None:
    compiled: dict[int, Any] = {1: _compiled(wheel, precision, 1)}
    ws, images = np.empty(0), np.empty(0)
    print("ready", flush=True)
    for line in sys.stdin:
        request, answer = line.strip(), "done"
        if request == "load":
            ws = np.ascontiguousarray(np.load(folder / "ws.npy")[:, 0])
            if len(ws) not in compiled:
                compiled[len(ws)] = _compiled(wheel, precision, len(ws))
        elif request == "images":
            np.save(folder / "images.npy", np.moveaxis(images, 1, 3))
        elif request == "forward":
            start = time.perf_counter()
            images = compiled[len(ws)](ws)[0]
            answer = repr(time.perf_counter() - start)
        else:
            raise SystemExit(f"OpenVINO has no {request}")
        print(answer, flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
