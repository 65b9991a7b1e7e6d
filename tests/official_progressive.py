"""ProgressiveGAN as its TensorFlow code has it: random variables, files of both formats, and `G_paper` in float64."""

import collections
from pathlib import Path
from typing import Any

import numpy as np
from official_pickles import ProgressiveNetwork, Tensor, pickled, torch_save

CHANNELS, Z_DIM, RESOLUTION = (8, 6, 4), 5, 16
Variables = dict[str, np.ndarray]


def variables(*, fused: bool = False, c_dim: int = 0, seed: int = 0) -> Variables:
    """The variables of the network, with the colours of all resolutions; equalised, so standard normal."""
    random, found = np.random.default_rng(seed), Variables(lod=np.float32(0))  # pyright: ignore[reportArgumentType]

    def add(name: str, *shape: int, width: int) -> None:
        found[f"{name}/weight"] = random.standard_normal(shape).astype(np.float32)
        found[f"{name}/bias"] = 0.3 * random.standard_normal(width).astype(np.float32)

    below = Z_DIM + c_dim
    for block, width in enumerate(CHANNELS):
        scope = f"{4 << block}x{4 << block}"
        if block == 0:
            add(f"{scope}/Dense", below, 16 * width, width=width)
            add(f"{scope}/Conv", 3, 3, width, width, width=width)
        else:
            ends = (width, below) if fused else (below, width)
            add(f"{scope}/Conv0{'_up' if fused else ''}", 3, 3, *ends, width=width)
            add(f"{scope}/Conv1", 3, 3, width, width, width=width)
        add(f"ToRGB_lod{len(CHANNELS) - 1 - block}", 1, 1, width, 3, width=3)
        below = width
    return found


def state_dict(found: Variables) -> Variables:
    """The same network as InterFaceGAN has it."""
    state = {"lod": found["lod"]}
    for block in range(len(CHANNELS)):
        scope, lod = f"{4 << block}x{4 << block}", len(CHANNELS) - 1 - block
        upper = "Dense" if block == 0 else "Conv0_up" if f"{scope}/Conv0_up/weight" in found else "Conv0"
        names = {f"layer{2 * block}": f"{scope}/{upper}", f"output{block}": f"ToRGB_lod{lod}"}
        names[f"layer{2 * block + 1}"] = f"{scope}/Conv1" if block else f"{scope}/Conv"
        for own, name in names.items():
            weight, place = found[f"{name}/weight"], "conv.weight"
            if name.endswith("Conv0_up"):
                weight, place = weight.transpose(0, 1, 3, 2), "weight"
            elif name.endswith("Dense"):
                weight = weight.reshape(len(weight), -1, 4, 4).transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
            else:
                weight = weight.transpose(3, 2, 0, 1)
            state |= {f"{own}.{place}": weight, f"{own}.wscale.bias": found[f"{name}/bias"]}
    return state


def saved(path: Path, state: Variables, *, legacy: bool = False) -> Path:
    tensors = ((name, Tensor(np.array(value, order="C"))) for name, value in state.items())
    return torch_save(path, collections.OrderedDict(tensors), legacy=legacy)


def network(function: str, found: Variables, **options: Any) -> Any:
    """One `tfutil.Network`; an option of None is left out."""
    c_dim = len(found["4x4/Dense/weight"]) - Z_DIM
    given: dict[str, Any] = dict(num_channels=3, resolution=RESOLUTION, label_size=c_dim, fmap_base=48, fmap_max=8)
    given |= dict(latent_size=Z_DIM, fused_scale=True) | options
    made = ProgressiveNetwork()
    made.__dict__ |= dict(
        version=2,
        name="G",
        static_kwargs={name: value for name, value in given.items() if value is not None},
        build_module_src="raise SystemExit('the source code in a checkpoint must never run')",
        build_func_name=function,
        variables=list(found.items()),
    )
    return made


def tensorflow_pickle(path: Path, found: Variables, **options: Any) -> Path:
    """(G, D, Gs) as the training writes them; G and D are others."""
    other = {name: value + np.float32(name != "lod") for name, value in found.items()}
    parts = network("G_paper", other), network("D_paper", other), network("G_paper", found, **options)
    return pickled(path, parts)


# The network, channels first.


def official(found: Variables, z: np.ndarray, c: Any = ()) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The image `[r, r, 3]`, and the outputs of all layers `[r, r, channels]`."""
    found = {name: np.asarray(value, np.float64) for name, value in found.items()}

    def normed(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=0, keepdims=True) + 1e-8)

    def weight(name: str, gain: float, fan_in: int) -> np.ndarray:
        return found[f"{name}/weight"] * gain / np.sqrt(fan_in)

    def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        pad, size = len(kernel) // 2, len(kernel)
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
        return np.einsum("ihwyx,yxio->ohw", windows, kernel)

    def conv2d(x: np.ndarray, name: str, gain: float = 2**0.5) -> np.ndarray:
        return convolved(x, weight(name, gain, x.shape[0] * found[f"{name}/weight"].shape[0] ** 2))

    def upscale2d_conv2d(x: np.ndarray, name: str) -> np.ndarray:
        w = np.pad(weight(name, 2**0.5, 9 * x.shape[0]), ((1, 1), (1, 1), (0, 0), (0, 0)))
        w = w[1:, 1:] + w[:-1, 1:] + w[1:, :-1] + w[:-1, :-1]
        _, height, width = x.shape  # each pixel adds the kernel to the result, which then loses a border
        y = np.zeros((w.shape[2], 2 * height + 2, 2 * width + 2))
        for row in range(height):
            for column in range(width):
                y[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += np.einsum(
                    "yxoi,i->oyx", w, x[:, row, column]
                )
        return y[:, 1:-1, 1:-1]

    def activated(x: np.ndarray, name: str) -> np.ndarray:
        x = x + found[f"{name}/bias"][:, None, None]
        features.append(normed(np.maximum(0.2 * x, x)))
        return features[-1]

    features: list[np.ndarray] = []
    x = normed(np.concatenate([z, c]).astype(np.float64))
    for block in range(len(CHANNELS)):
        scope = f"{4 << block}x{4 << block}"
        if block == 0:
            x = (x @ weight(f"{scope}/Dense", 2**0.5 / 4, len(x))).reshape(-1, 4, 4)
            x = activated(x, f"{scope}/Dense")
            x = activated(conv2d(x, f"{scope}/Conv"), f"{scope}/Conv")
        else:
            if f"{scope}/Conv0_up/weight" in found:
                x = activated(upscale2d_conv2d(x, f"{scope}/Conv0_up"), f"{scope}/Conv0_up")
            else:
                x = activated(conv2d(x.repeat(2, 1).repeat(2, 2), f"{scope}/Conv0"), f"{scope}/Conv0")
            x = activated(conv2d(x, f"{scope}/Conv1"), f"{scope}/Conv1")
    image = conv2d(x, "ToRGB_lod0", 1.0) + found["ToRGB_lod0/bias"][:, None, None]
    names = [f"b{4 << block}.conv{conv}" for block in range(len(CHANNELS)) for conv in (0, 1)]
    maps = {name: maps.transpose(1, 2, 0) for name, maps in zip(names, features, strict=True)}
    return image.transpose(1, 2, 0), maps
