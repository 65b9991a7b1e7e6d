"""What takes the place of tensors that some of rosinality's checkpoints do not have, always the same for one file."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

SEED = 0
AVERAGE_SAMPLES = 4096
MAX_NUMBERS = 1 << 21  # of latents at a time
AVERAGE = f"note: the file has no average w; the mean of {AVERAGE_SAMPLES} mapped samples (seed {SEED}) takes its place"
NOISE = f"note: the file has no noise maps; standard normal ones (seed {SEED}) take their place"


def noise_maps(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Noise maps as the official network draws them when it is made: `np.random.RandomState(0).randn`, one by one.

    Args:
        shapes: Leaf -> its shape, from the lowest resolution up.
    """
    random = np.random.RandomState(SEED)
    return {leaf: random.randn(*shape).astype(np.float32) for leaf, shape in shapes.items()}


def average_w(arrays: Mapping[str, np.ndarray], config: Any) -> np.ndarray:
    """The mean of w over seeded samples, which is what rosinality's own scripts use when generating.

    Args:
        arrays: Leaf -> array, those of the mapping among them.
        config: Of the generator.

    Returns:
        `[w_dim]` float32.
    """
    random, total = np.random.RandomState(SEED), np.zeros(config.w_dim, np.float32)
    batch = max(1, MAX_NUMBERS // max(config.z_dim, config.w_dim))
    for start in range(0, AVERAGE_SAMPLES, batch):
        x = random.randn(min(batch, AVERAGE_SAMPLES - start), config.z_dim).astype(np.float32)
        x /= np.sqrt(np.mean(np.square(x), axis=1, keepdims=True) + 1e-8)
        total += _mapped(x, arrays, config).sum(axis=0)
    return total / np.float32(AVERAGE_SAMPLES)


def _mapped(x: np.ndarray, arrays: Mapping[str, np.ndarray], config: Any) -> np.ndarray:
    gain = config.mapping_lr_multiplier
    for i in range(config.mapping_layers):
        kernel, bias = arrays[f"mapping/fc{i}/kernel"], arrays[f"mapping/fc{i}/bias"]
        x = x @ (kernel * np.float32(gain / math.sqrt(kernel.shape[0]))) + bias * np.float32(gain)
        x = np.where(x > 0, x, np.float32(0.2) * x) * np.float32(math.sqrt(2))
    return x
