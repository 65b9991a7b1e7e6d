"""State dicts of Hugging Face's pytorch-pretrained-BigGAN: BigGAN-deep for 128, 256 or 512 px.

Spectral normalisation becomes part of the kernels: `weight_orig / sigma` with sigma = u . W v of the vectors in the
file, as the official code computes it in inference. Files of PyTorch before 1.0 have the normalised `weight` instead of
v: PyTorch takes sigma from it, the mean of `weight_orig / weight`. Without both the official loader, which is not
strict, goes on with a random v, which means other images each time: such files are refused.
"""

import re
from typing import Any

import numpy as np

from weights_convert.errors import ConversionError
from weights_convert.fill import check_bytes, taken
from weights_convert.options import Network, Role, add_tensor, shape_of
from weights_convert.tensors import Tensor, computed

EMBEDDING, FIRST = "embeddings.weight", "generator.gen_z.weight"
TO_RGB, STATISTICS = "generator.conv_to_rgb", "generator.bn.running_means"
COLORS = 3  # of the channels of the last convolution, the others are not used
MAX_LAYERS = 21


def role(value: Any) -> Role | None:
    """A state dict with the first layers of the generator, spectrally normalised."""
    names = value if type(value) is dict else ()
    return "generator" if {EMBEDDING, f"{FIRST}_orig"} <= set(names) else None


def kind(value: Any) -> str:
    """As `--network` calls it."""
    return "biggan_deep"


def network(name: str, role: Role, source: dict[str, Any]) -> Network:
    """Reads the generator; the architecture follows from the tensors' shapes."""
    tensors: dict[str, Tensor] = {}
    for key, value in source.items():
        add_tensor(tensors, key, value)
    check_bytes(tensors)
    for key in [key.removesuffix("_orig") for key in tensors if key.endswith(".weight_orig")]:
        add_tensor(tensors, key, _normalised(tensors, key))
    config = _config(tensors)
    _keep_colors(tensors, config["channels"][-1])
    return Network("biggan_deep", "torch", config, tensors)


def _normalised(tensors: dict[str, Tensor], name: str) -> Tensor:
    """Takes a kernel's tensors out and puts them together."""
    older = name in tensors and f"{name}_v" not in tensors
    kernel, u, other = (taken(tensors, key) for key in (f"{name}_orig", f"{name}_u", name if older else f"{name}_v"))
    if u.shape != kernel.shape[:1] or other.shape != (kernel.shape if older else (kernel[0].size,)):
        raise ConversionError(f"{name}_orig {kernel.shape} does not fit {name}_u {u.shape} and {other.shape}")
    with np.errstate(all="ignore"):
        matrix = kernel.reshape(len(kernel), -1).astype(np.float64)
        sigma = np.mean(kernel / other, dtype=np.float64) if older else u @ (matrix @ other)
        return computed(kernel / sigma)


def _config(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Blocks come in pairs of which the second one doubles the resolution, as in all published networks."""
    layers = {int(found[1]) for key in tensors if (found := re.match(r"generator\.layers\.(\d{1,4})\.", key))}
    attended = [layer for layer in sorted(layers) if f"generator.layers.{layer}.gamma" in tensors]
    blocks = sorted(layers - set(attended))
    if len(attended) != 1 or attended[0] % 2 or len(blocks) % 2 or not 0 < len(layers) <= MAX_LAYERS:
        found = f"{len(blocks)} blocks and attention as layer {', '.join(map(str, attended[:8])) or 'nowhere'}"
        raise ConversionError(f"{found}; pairs of blocks, and attention once between them, are supported")
    kernels = [f"generator.layers.{block}.conv_0.weight" for block in blocks[::2]]
    z_dim, classes = shape_of(tensors, EMBEDDING, 2)
    return {
        "channels": (
            *(shape_of(tensors, kernel, 4)[1] for kernel in kernels),
            shape_of(tensors, f"{TO_RGB}.bias", 1)[0],
        ),
        "attention_resolution": 4 << attended[0] // 2,
        "z_dim": z_dim,
        "c_dim": classes,
        "truncations": shape_of(tensors, STATISTICS, 2)[0],
    }


def _keep_colors(tensors: dict[str, Tensor], channels: int) -> None:
    for name, axes in ((f"{TO_RGB}.weight", 4), (f"{TO_RGB}.bias", 1)):
        if shape_of(tensors, name, axes)[0] != channels or channels < COLORS:
            raise ConversionError(f"{name} has the shape {tensors[name].shape}; it has {channels} channels")
        tensors[name] = computed(taken(tensors, name)[:COLORS])
