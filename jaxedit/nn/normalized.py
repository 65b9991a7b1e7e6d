"""Plain convolutions and the batch normalisation that follows most of them, as residual networks use them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxedit.nn.convolution import conv2d

BATCH = "batch"


class Conv(nn.Module):
    """Convolution that keeps the size (but for the stride), as `torch.nn.Conv2d(..., bias=False)` with a padding of
    `dilation * (size // 2)`.

    Parameters: kernel `[size, size, in, features]`, He-normal by fan-out; with `use_bias` bias `[features]`, zero.
    """

    features: int
    size: int = 3
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "height width in_features"]) -> Float[Array, "out_height out_width features"]:
        """Maps one image `[height, width, in]` to `[ceil(height / stride), ceil(width / stride), features]`."""
        he = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        kernel = self.param("kernel", he, (self.size, self.size, x.shape[-1], self.features))
        pad = self.dilation * (self.size // 2)
        options: Any = {"stride": self.stride, "kernel_dilation": self.dilation}
        x = conv2d(x, kernel.astype(x.dtype), padding=((pad, pad), (pad, pad)), **options)
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)[None, None]
        return x


def batch_norm(*, train: bool, name: str) -> nn.BatchNorm:
    """The batch normalisation of all networks here: epsilon 1e-5, stored statistics move by a tenth per step.

    Args:
        train: False normalises one image `[height, width, features]` by the stored statistics. True normalises by
            those of the batch and works inside `train_on_batch` only.
        name: Of the layer.

    Returns:
        The layer. Parameters scale and bias, statistics mean and var, all `[features]`; equal to
        `torch.nn.BatchNorm2d`, but for the stored variance, which is the biased one.
    """
    axis = BATCH if train else None
    return nn.BatchNorm(use_running_average=not train, axis_name=axis, momentum=0.9, epsilon=1e-5, name=name)


def train_on_batch(network: nn.Module, params: dict[str, Any], images: Float[Array, "batch *shape"]) -> Any:  # noqa: F821
    """Runs a network in training mode on a batch; its normalisation sees all samples.

    Args:
        network: Built with `train=True`; a module of one image.
        params: `{"params": ..., "batch_stats": ...}`.
        images: `[batch, height, width, channels]` float32.

    Returns:
        The batch of outputs, and the moved statistics in place of `params["batch_stats"]`.
    """

    def forward(image):
        return network.apply(params, image, mutable=["batch_stats"])

    outputs, moved = jax.vmap(forward, axis_name=BATCH, out_axes=(0, None))(images)
    return outputs, moved["batch_stats"]
