"""The built-in network that `jaxedit demo` edits: untrained, made from a seed, a few megabytes."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxedit import checkpoints
from jaxedit.directions.files import save_direction
from jaxedit.generators import stylegan2
from jaxedit.generators.base import sample_z
from jaxedit.spaces import Direction

CONFIG = stylegan2.StyleGAN2Config(resolution=256, z_dim=128, w_dim=128, channel_base=4096, channel_max=128)


def prepare(output: Path, *, keep: bool) -> dict[str, Any]:
    """Writes a checkpoint and a direction file for it.

    Args:
        output: Directory, made if needed.
        keep: Use a checkpoint that is there already; otherwise it is an error.

    Returns:
        The arguments for `jaxedit edit` that edit the network.

    Raises:
        FileExistsError: The checkpoint exists and `keep` is false.
    """
    checkpoint, direction = output / "checkpoint", output / "direction.safetensors"
    if checkpoint.exists() and not keep:
        raise FileExistsError(f"{checkpoint} exists already; --existing skip or --existing overwrite goes on")
    output.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        params = jax.jit(functools.partial(stylegan2.init, config=CONFIG))(jax.random.key(0))
        for resolution in CONFIG.block_resolutions:  # softer colours
            torgb = params["synthesis"][f"b{resolution}"]["torgb"]
            torgb["kernel"] = 0.4 * torgb["kernel"]
        metadata = {"source": "untrained, made by `jaxedit demo`", "licence": "Apache-2.0"}
        checkpoints.save(checkpoint, network="generator", params=params, config=CONFIG, metadata=metadata)
    vector = sample_z(0, CONFIG.w_dim)
    save_direction(direction, Direction(name="demo", space="w", vector=vector / np.linalg.norm(vector)))
    print(f"{checkpoint}: an untrained 256 px network, so the pictures are abstract")
    return {
        "checkpoint": checkpoint,
        "output": output,
        "seeds": "0-3",
        "direction": (direction,),
        "strengths": (-4.0, -2.0, 0.0, 2.0, 4.0),
    }
