"""The built-in network that `jaxedit demo` edits: untrained, made from a seed, a few megabytes."""

import functools
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxedit import checkpoints
from jaxedit.directions.files import save_direction
from jaxedit.generators import stylegan2
from jaxedit.generators.base import sample_z
from jaxedit.spaces import Direction

CONFIG = stylegan2.StyleGAN2Config(resolution=256, z_dim=128, w_dim=128, channel_base=4096, channel_max=128)
_SOURCE = "untrained, made by `jaxedit demo`"


def prepare(output: Path, *, existing: Literal["error", "skip", "overwrite"]) -> dict[str, Any]:
    """Writes a checkpoint and a direction file for it.

    Args:
        output: Directory, made if needed.
        existing: What to do with a checkpoint that is there already: refuse, use it, or make it anew.

    Returns:
        The arguments for `jaxedit edit` that edit the network.

    Raises:
        FileExistsError: The checkpoint exists and `existing` is "error", or it is none that this function made.
    """
    checkpoint, direction = output / "checkpoint", output / "direction.safetensors"
    if checkpoint.exists() and existing == "error":
        raise FileExistsError(f"{checkpoint} exists already; --existing skip or --existing overwrite goes on")
    output.mkdir(parents=True, exist_ok=True)
    if existing == "overwrite" or not checkpoint.exists():
        params = jax.jit(functools.partial(stylegan2.init, config=CONFIG))(jax.random.key(0))
        for resolution in CONFIG.block_resolutions:  # softer colours
            torgb = params["synthesis"][f"b{resolution}"]["torgb"]
            torgb["kernel"] = 0.4 * torgb["kernel"]
        metadata = {"source": _SOURCE, "licence": "Apache-2.0"}
        if checkpoint.exists():
            _remove(checkpoint)
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


def _remove(checkpoint: Path) -> None:
    """Removes a checkpoint of an earlier demo, even a damaged one, and nothing else."""
    try:
        ours = checkpoints.read_description(checkpoint)[2].get("source") == _SOURCE
    except (checkpoints.CheckpointError, FileNotFoundError):
        ours = set(os.listdir(checkpoint)) <= {"config.json", "metadata.json", "params"}
    if not ours:
        raise FileExistsError(f"{checkpoint}: not made by the demo, so it is not overwritten; choose another --output")
    shutil.rmtree(checkpoint)
