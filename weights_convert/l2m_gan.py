"""The networks of L2M-GAN and StarGAN v2: their architectures, from the shapes of their tensors.

What is left out holds nothing that inference uses: `attention`, which L2M-GAN's code never calls, the shortcuts of a
decoder with high-pass skips, and the constant filter of these.
"""

import re
from typing import Any

import numpy as np

from weights_convert.errors import ConversionError
from weights_convert.options import shape_of
from weights_convert.tensors import Tensor

UNUSED = r"attention\.layers\.[02]\.(weight|bias)"
_PIXELS = 1 << 14  # width times resolution of all of them
_FILTER = "hpf.filter"  # in StarGAN v2's files only
_LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


def generator(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of its config; shortcuts that are not used, and the filter, are taken out. Where there is no filter,
    w_hpf is 1 as published, unless the number of blocks says 0."""
    widths = [shape_of(tensors, "from_rgb.weight", 4)[0], *_outputs(tensors, r"encode\.\d+")]
    resolution = _PIXELS // max(widths[0], 1)
    smallest = resolution >> max(len(widths) - 3, 0)
    w_hpf = _w_hpf(tensors.pop(_FILTER)) if _FILTER in tensors else float(smallest == 8)
    if smallest != (8 if w_hpf else 16):
        found = f"{len(widths) - 1} blocks from {widths[0]} channels on, so from {resolution} px, and w_hpf {w_hpf:g}"
        raise ConversionError(f"{found} do not fit each other, so the architecture cannot be told")
    for name in [name for name in tensors if w_hpf and re.fullmatch(r"decode\.\d+\.conv1x1\.weight", name)]:
        outputs, inputs = shape_of(tensors, name.replace("conv1x1", "conv1"), 4)[:2]
        if outputs != inputs and tensors[name].shape == (outputs, inputs, 1, 1):
            del tensors[name]
    style_dim = shape_of(tensors, "decode.0.norm1.fc.weight", 2)[1]
    return _sizes(resolution, widths) | {"style_dim": style_dim, "w_hpf": w_hpf}


def style_encoder(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of its config."""
    return _trunk(tensors, "shared") | {
        "style_dim": shape_of(tensors, "unshared.0.weight", 2)[0],
        "domains": len(_outputs(tensors, r"unshared\.\d+", "", 2)),
        "transform_layers": len(_outputs(tensors, r"transform1\.\d+", "", 2)),
    }


def discriminator(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of its config."""
    config = _trunk(tensors, "main")
    last = config["resolution"].bit_length() + 1
    return config | {"domains": shape_of(tensors, f"main.{last}.weight", 4)[0]}


def _trunk(tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    widths = [shape_of(tensors, f"{prefix}.0.weight", 4)[0], *_outputs(tensors, rf"{prefix}\.\d+")]
    return _sizes(4 << min(len(widths) - 1, 16), widths)


def _sizes(resolution: int, widths: list[int]) -> dict[str, Any]:
    return {"resolution": resolution, "width": widths[0], "max_width": max(widths)}


def _outputs(tensors: dict[str, Tensor], layer: str, last: str = r"\.conv2", axes: int = 4) -> list[int]:
    """Of all layers of a pattern, in the order of the file, or of the last convolution of each block."""
    return [shape_of(tensors, name, axes)[0] for name in tensors if re.fullmatch(rf"{layer}{last}\.weight", name)]


def _w_hpf(tensor: Tensor) -> float:
    kernel = tensor.numpy().astype(np.float64) if tensor.shape == (3, 3) else np.zeros((3, 3))
    with np.errstate(all="ignore"):
        w_hpf = 8 / kernel[1, 1]
        if not np.allclose(kernel * w_hpf, _LAPLACIAN, rtol=1e-3):
            raise ConversionError(f"{_FILTER} is not the high-pass filter, the only one supported")
    return float(w_hpf)
