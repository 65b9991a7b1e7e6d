"""The official PyTorch network (a checkout of stylegan2-ada-pytorch that the user has) as a contender, in a process of
its own.

A process of its own because PyTorch may need another Python, and because its threads and allocator settings must not
meet JAX's. `AdaPeer` starts it; run as a script, this file is the process: it answers requests on its standard input
and needs PyTorch, NumPy and the checkout, not JAX.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

VARIANTS = {
    "shipped": "float32, channels first, as the network comes",
    "channels_last": "float32, channels last, freed memory kept",
    "channels_last_bf16": "bfloat16 where the official code uses float16 (8 px up), channels last, memory kept",
}


class AdaPeer:
    """One variant of the official network in a process of its own, with the weights of a parameter tree."""

    def __init__(self, checkout: Path, python: str, variant: str, params: Any, config: Any):
        """Starts the process and loads the weights.

        Raises:
            RuntimeError: The process could not start; the message ends with what it printed.
        """
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        np.savez(folder / "weights.npz", **_official_names(params, config))  # pyright: ignore[reportArgumentType]
        fields = ("resolution", "z_dim", "w_dim", "channel_base", "channel_max", "mapping_layers")
        description = {name: getattr(config, name) for name in fields}
        self._log = open(folder / "log", "w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-W", "ignore", __file__, str(checkout), variant, str(folder), json.dumps(description)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._read()

    def load(self, ws: np.ndarray) -> None:
        """Sets the W+ codes `[batch, num_ws, w_dim]` that the next calls render."""
        np.save(Path(self._folder.name) / "ws.npy", ws)
        self._ask("load")

    def run(self, task: str) -> float:
        """Seconds of one "forward" or "gradient" (to w_plus: the official network's styles are inside its layers)."""
        return float(self._ask(task))

    def images(self) -> np.ndarray:
        """The last images as `[batch, height, width, 3]`."""
        self._ask("images")
        return np.load(Path(self._folder.name) / "images.npy")

    def pose(self, problem: Mapping[str, np.ndarray]) -> None:
        """Sets a problem of Style Intervention: flat "codes", "displacement", "normal" and "coefficients", "outside"
        `[height, width]` and "image" `[height, width, 3]`."""
        np.savez(Path(self._folder.name) / "problem.npz", **problem)  # pyright: ignore[reportArgumentType]
        self._ask("pose")

    def intervene(self, layer: int) -> float:
        """Seconds of one step of Adam on the coefficients of a layer, from those of the problem."""
        return float(self._ask(f"intervene {layer}"))

    def gradient(self) -> np.ndarray:
        """That of the last step."""
        self._ask("gradient to coefficients")
        return np.load(Path(self._folder.name) / "gradient.npy")

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def _ask(self, request: str) -> str:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has died; its log says why
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout
        answer = self._process.stdout.readline().strip()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"the peer stopped: {' '.join(self._log.read().splitlines()[-1:])}")
        return answer


def _official_names(params: Any, config: Any) -> dict[str, np.ndarray]:
    """The parameter tree under the official names, in the official layouts."""
    mapping, synthesis = params["mapping"], params["synthesis"]
    named = {"mapping.w_avg": mapping["w_avg"], "synthesis.b4.const": np.transpose(synthesis["const"], (2, 0, 1))}
    for index in range(config.mapping_layers):
        named[f"mapping.fc{index}.weight"] = np.transpose(mapping[f"fc{index}"]["kernel"])
        named[f"mapping.fc{index}.bias"] = mapping[f"fc{index}"]["bias"]
    offset = 0
    for layer in config.style_layers:
        block, _, name = layer.name.partition(".")
        source, target = synthesis[block][name], f"synthesis.{layer.name}"
        columns = slice(offset, offset + layer.width)
        named[f"{target}.affine.weight"] = np.transpose(synthesis["affine"]["kernel"][:, columns])
        named[f"{target}.affine.bias"] = synthesis["affine"]["bias"][columns]
        named[f"{target}.bias"] = source["bias"]
        if layer.kind == "torgb":
            named[f"{target}.weight"] = np.transpose(source["kernel"])[:, :, None, None]
        else:
            kernel = np.transpose(source["kernel"], (3, 2, 0, 1))
            named[f"{target}.weight"] = kernel[:, :, ::-1, ::-1] if name == "conv0" else kernel
            named[f"{target}.noise_const"] = source["noise_const"]
            named[f"{target}.noise_strength"] = source["noise_strength"]
        offset += layer.width
    return {name: np.asarray(value, np.float32) for name, value in named.items()}


def _serve(checkout: str, variant: str, folder: Path, description: dict[str, int]) -> None:
    import ctypes
    import time

    import torch  # pyright: ignore[reportMissingImports]

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
        import torch  # pyright: ignore[reportMissingImports]

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
        import torch  # pyright: ignore[reportMissingImports]

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
