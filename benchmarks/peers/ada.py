"""The official PyTorch network (a checkout of stylegan2-ada-pytorch that the user has) as a contender."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.process import PeerProcess

_SERVER = Path(__file__).with_name("ada_server.py")
VARIANTS = {
    "shipped": "float32, channels first, as the network comes",
    "channels_last": "float32, channels last, freed memory kept",
    "channels_last_bf16": "bfloat16 where the official code uses float16 (8 px up), channels last, memory kept",
}


class AdaPeer(PeerProcess):
    """One variant of the official network with the weights of a parameter tree."""

    def __init__(self, checkout: Path, python: str, variant: str, params: Any, config: Any):
        """Starts the process and loads the weights.

        Raises:
            RuntimeError: The process could not start; the message ends with what it printed.
        """
        super().__init__()
        np.savez(self.folder / "weights.npz", **_official_names(params, config))  # pyright: ignore[reportArgumentType]
        fields = ("resolution", "z_dim", "w_dim", "channel_base", "channel_max", "mapping_layers")
        description = {name: getattr(config, name) for name in fields}
        self.start(
            [python, "-W", "ignore", str(_SERVER), str(checkout), variant, str(self.folder), json.dumps(description)]
        )

    def pose(self, problem: Mapping[str, np.ndarray]) -> None:
        """Sets a problem of Style Intervention: flat "codes", "displacement", "normal" and "coefficients", "outside"
        `[height, width]` and "image" `[height, width, 3]`."""
        np.savez(self.folder / "problem.npz", **problem)  # pyright: ignore[reportArgumentType]
        self.ask("pose")

    def intervene(self, layer: int) -> float:
        """Seconds of one step of Adam on the coefficients of a layer, from those of the problem."""
        return float(self.ask(f"intervene {layer}"))

    def gradient(self) -> np.ndarray:
        """That of the last step."""
        self.ask("gradient to coefficients")
        return np.load(self.folder / "gradient.npy")


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
