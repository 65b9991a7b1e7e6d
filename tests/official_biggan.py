"""BigGAN-deep as pytorch-pretrained-BigGAN has it: its state dicts, random, and its forward pass in float64."""

import math
from pathlib import Path

import numpy as np
from official_pickles import Tensor, torch_save

from jaxedit.generators.biggan import BigGANConfig

CONFIG = BigGANConfig(channels=(16, 16, 8), attention_resolution=8, z_dim=6, c_dim=5)
BLOCKS = {0: (16, 16), 1: (16, 16), 3: (16, 16), 4: (16, 8)}  # module -> its channels; 1 and 4 double the size
ATTENTION = 2
TRUNCATIONS = 51


def state_dict(seed: int = 0) -> dict[str, np.ndarray]:
    """The official network's tensors, random; u and v as after a power iteration."""
    random, state = np.random.default_rng(seed), {}

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    def spectral(name: str, *shape: int, bias: bool = False) -> None:
        kernel = normal(*shape)
        matrix = kernel.reshape(len(kernel), -1)
        v = matrix.T @ normal(len(matrix))
        u = matrix @ (v / np.linalg.norm(v))
        state.update({f"{name}.weight_orig": kernel, f"{name}.weight_u": u / np.linalg.norm(u)})
        state[f"{name}.weight_v"] = v / np.linalg.norm(v)
        if bias:
            state[f"{name}.bias"] = 0.1 * normal(shape[0])

    def tables(name: str, width: int) -> None:
        state[f"{name}.running_means"] = 0.3 * normal(TRUNCATIONS, width)
        state[f"{name}.running_vars"] = 0.2 + normal(TRUNCATIONS, width) ** 2

    state["embeddings.weight"] = normal(CONFIG.z_dim, CONFIG.c_dim)
    spectral("generator.gen_z", 16 * 16, 2 * CONFIG.z_dim, bias=True)
    for module, (below, width) in BLOCKS.items():
        name, middle = f"generator.layers.{module}", below // 4
        for i, channels in enumerate((below, middle, middle, middle)):
            tables(f"{name}.bn_{i}", channels)
            for part in ("scale", "offset"):
                spectral(f"{name}.bn_{i}.{part}", channels, 2 * CONFIG.z_dim)
        for i, (inside, outside, size) in enumerate(
            ((below, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, width, 1))
        ):
            spectral(f"{name}.conv_{i}", outside, inside, size, size, bias=True)
    name = f"generator.layers.{ATTENTION}"
    state[f"{name}.gamma"] = normal(1)
    for part, shape in {"theta": (2, 16), "phi": (2, 16), "g": (8, 16), "o_conv": (16, 8)}.items():
        spectral(f"{name}.snconv1x1_{part}", *shape, 1, 1)
    tables("generator.bn", 8)
    state |= {"generator.bn.weight": normal(8), "generator.bn.bias": normal(8)}
    spectral("generator.conv_to_rgb", 8, 8, 3, 3, bias=True)
    return state


# The official network: channels first, one row of z for every layer that reads one.


def official(state: dict[str, np.ndarray], z: np.ndarray, c: np.ndarray, psi: float) -> np.ndarray:
    """The image `[r, r, 3]` of rows of z_plus."""
    state = {name: tensor.astype(np.float64) for name, tensor in state.items()}

    def kernel(name: str) -> np.ndarray:
        found = state[f"{name}.weight_orig"]
        return found / (state[f"{name}.weight_u"] @ (found.reshape(len(found), -1) @ state[f"{name}.weight_v"]))

    def convolved(name: str, x: np.ndarray) -> np.ndarray:
        weight = kernel(name)
        pad, size = weight.shape[-1] // 2, weight.shape[-1]
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
        y = np.einsum("ihwyx,oiyx->ohw", windows, weight)
        return y + state[f"{name}.bias"][:, None, None] if f"{name}.bias" in state else y

    def normalised(name: str, x: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        fraction, whole = math.modf(psi / (1.0 / (TRUNCATIONS - 1)))
        means, variances = (state[f"{name}.running_{part}"] for part in ("means", "vars"))
        mean, variance = means[int(whole)], variances[int(whole)]
        if fraction:
            mean = fraction * mean + (1 - fraction) * means[int(whole) + 1]
            variance = fraction * variance + (1 - fraction) * variances[int(whole) + 1]
        if condition is None:
            scale, offset = state[f"{name}.weight"], state[f"{name}.bias"]
        else:
            scale, offset = 1 + kernel(f"{name}.scale") @ condition, kernel(f"{name}.offset") @ condition
        scaled = scale / np.sqrt(variance + 1e-4)
        return np.maximum((x - mean[:, None, None]) * scaled[:, None, None] + offset[:, None, None], 0)

    def block(name: str, x: np.ndarray, condition: np.ndarray, up: bool) -> np.ndarray:
        y = convolved(f"{name}.conv_0", normalised(f"{name}.bn_0", x, condition))
        y = normalised(f"{name}.bn_1", y, condition)
        y = convolved(f"{name}.conv_1", y.repeat(2, 1).repeat(2, 2) if up else y)
        y = convolved(f"{name}.conv_2", normalised(f"{name}.bn_2", y, condition))
        y = convolved(f"{name}.conv_3", normalised(f"{name}.bn_3", y, condition))
        x = x[: len(y)]
        return y + (x.repeat(2, 1).repeat(2, 2) if up else x)

    def attended(name: str, x: np.ndarray) -> np.ndarray:
        def pooled(y: np.ndarray) -> np.ndarray:
            return y.reshape(len(y), y.shape[1] // 2, 2, y.shape[2] // 2, 2).max(axis=(2, 4)).reshape(len(y), -1)

        query = convolved(f"{name}.snconv1x1_theta", x)
        key, value = (pooled(convolved(f"{name}.snconv1x1_{part}", x)) for part in ("phi", "g"))
        likeness = np.exp(query.reshape(len(query), -1).T @ key)
        read = value @ (likeness / likeness.sum(1, keepdims=True)).T
        return x + state[f"{name}.gamma"] * convolved(f"{name}.snconv1x1_o_conv", read.reshape(-1, *x.shape[1:]))

    conditions = iter([np.concatenate([row, state["embeddings.weight"] @ c]) for row in z.astype(np.float64)])
    x = kernel("generator.gen_z") @ next(conditions) + state["generator.gen_z.bias"]
    x = x.reshape(4, 4, 16).transpose(2, 0, 1)
    for module in range(len(BLOCKS) + 1):
        name = f"generator.layers.{module}"
        x = attended(name, x) if module == ATTENTION else block(name, x, next(conditions), module in (1, 4))
    return np.tanh(convolved("generator.conv_to_rgb", normalised("generator.bn", x, None))[:3]).transpose(1, 2, 0)


def saved(path: Path, state: dict[str, np.ndarray], *, legacy: bool = False) -> Path:
    return torch_save(path, {name: Tensor(tensor) for name, tensor in state.items()}, legacy=legacy)
