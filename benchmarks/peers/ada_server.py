"""The process of `benchmarks.peers.ada`: answers requests on its standard input. Needs PyTorch, NumPy and the checkout,
not JAX, and imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]


def _serve(checkout: str, variant: str, folder: Path, description: dict[str, int]) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # the official code prints
    sys.path.insert(0, checkout)
    if variant != "shipped" and sys.platform.startswith("linux"):
        for option, value in ((-4, 0), (-1, -1), (-8, 1)):  # as jaxedit.memory.keep_freed_memory
            ctypes.CDLL(None).mallopt(option, value)
    from training.networks import Generator  # pyright: ignore[reportMissingImports]

    reduced = variant.endswith("bf16")
    if reduced:
        torch.float16 = torch.bfloat16  # what the official blocks look up when they run in half precision
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Generator(
        description["z_dim"],
        0,
        description["w_dim"],
        description["resolution"],
        3,
        mapping_kwargs={"num_layers": description["mapping_layers"]},
        synthesis_kwargs={
            "channel_base": description["channel_base"],
            "channel_max": description["channel_max"],
            "num_fp16_res": 99 if reduced else 0,
        },
    )
    weights = {
        name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in np.load(folder / "weights.npz").items()
    }
    missing, unexpected = network.load_state_dict(weights, strict=False)
    if unexpected or any("resample_filter" not in name for name in missing):
        raise SystemExit(f"the checkout's network has other parameters: {missing} {unexpected}")
    network = network.eval().requires_grad_(False).to(device)
    for resolution in network.synthesis.block_resolutions[1:]:  # the constant of the first block has no batch axis
        getattr(network.synthesis, f"b{resolution}").channels_last = variant != "shipped"
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    ws = images = torch.empty(0)

    intervention: Any = None

    def call(gradient: bool) -> Any:
        with torch.set_grad_enabled(gradient):
            leaf = ws.detach().requires_grad_(gradient)
            images = network.synthesis(leaf, noise_mode="const")
            if gradient:
                images.float().square().mean().backward()
        return images.detach()

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request, answer = line.strip(), "done"
        if request == "load":
            ws = torch.from_numpy(np.load(folder / "ws.npy")).to(device)
        elif request == "pose":
            intervention = _Intervention(network, np.load(folder / "problem.npz"), device)
        elif request == "gradient to coefficients":
            np.save(folder / "gradient.npy", intervention.gradient.cpu().numpy())
        elif request == "images":
            np.save(folder / "images.npy", images.float().permute(0, 2, 3, 1).cpu().numpy())
        else:
            synchronize()
            start = time.perf_counter()
            if request.startswith("intervene"):
                intervention(int(request.split()[1]))
            else:
                images = call(request == "gradient")
            synchronize()
            answer = repr(time.perf_counter() - start)
        print(answer, file=answers, flush=True)


class _Intervention:
    """Style Intervention written plainly: every step runs the whole network, whose affine layers give chosen styles."""

    def __init__(self, network: Any, problem: Mapping[str, np.ndarray], device: str):
        blocks = [getattr(network.synthesis, f"b{r}") for r in network.synthesis.block_resolutions]
        layers = [getattr(b, name) for b in blocks for name in ("conv0", "conv1", "torgb") if hasattr(b, name)]
        widths = [layer.affine.weight.shape[0] for layer in layers]
        self.network, self.styles = network, [torch.empty(0)] * len(layers)
        for index, layer in enumerate(layers):
            layer.affine.forward = lambda _, index=index: self.styles[index][None]
        self.arrays = {name: torch.from_numpy(value).to(device) for name, value in problem.items()}
        for name in ("codes", "displacement", "normal", "coefficients"):
            self.arrays[name] = self.arrays[name].split(widths)
        self.ws = torch.zeros(1, network.num_ws, network.w_dim, device=device)
        self.gradient = torch.empty(0)

    def __call__(self, index: int) -> None:
        codes, displacement, normal, coefficients, outside, original = (
            self.arrays[name] for name in ("codes", "displacement", "normal", "coefficients", "outside", "image")
        )
        active = coefficients[index].clone().requires_grad_()
        mixed = [*coefficients[:index], active, *coefficients[index + 1 :]]
        optimizer = torch.optim.Adam([active], lr=1.0)
        change = [(1 - c) * z + c * n for c, z, n in zip(mixed, displacement, normal, strict=True)]
        self.styles[:] = [code + part for code, part in zip(codes, change, strict=True)]
        image = self.network.synthesis(self.ws, noise_mode="const")[0].float().permute(1, 2, 0)
        pixel = (outside[..., None] * (image - original)).square().mean()
        attribute = -torch.nn.functional.cosine_similarity(torch.cat(normal), torch.cat(change), dim=0)
        loss = pixel + 1e-2 * attribute + 1e-6 * torch.cat(mixed).norm()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            active.clamp_(0, 1)
        self.gradient = active.grad


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
