"""The auxiliary mapping F of SGF (Li et al., 2021): a latent from itself and the condition that its picture meets.

The paper gives an MLP of N layers with AdaIN on the condition and spectral normalisation of all of them, and no widths
or forms. Here a layer is AdaIN, leaky ReLU (slope 0.2), a dense layer; AdaIN normalises the features of *one* sample,
then scales and shifts each of them by what one dense layer makes of the condition.

Kernels are stored normalised: `normalized` makes them from those that a training moves. Latent and condition are
standardised by the `statistics` of the training's pairs, since a kernel of norm 1 can't amplify.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params
from jaxedit.nn.spectral import spectral_normalized

_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class AuxiliaryConfig:
    """The architecture; the paper's for W by default.

    Attributes:
        latent_dim: Length of the latent.
        condition_dim: Length of the condition.
        layers: N; 6 in the paper for Z.
        width: Features between two layers; not in the paper.
    """

    latent_dim: int = 512
    condition_dim: int = 48
    layers: int = 15
    width: int = 512

    def __post_init__(self):
        for name, most in (("latent_dim", 1 << 16), ("condition_dim", 1 << 16), ("layers", 256), ("width", 1 << 14)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; 1 to {most} would be right")


def init(key: Key[Array, ""], *, config: AuxiliaryConfig) -> Params:
    """Draws an untrained mapping.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        A nested dict, float32: of each layer "affine" and "dense" with `kernel` `[in, out]` of spectral norm 1 and
        `bias`; and `statistics` that do nothing yet.
    """
    widths = [config.latent_dim, *[config.width] * (config.layers - 1), config.latent_dim]

    def dense(key: Array, below: int, above: int) -> Params:
        kernel = nn.initializers.orthogonal()(key, (below, above))
        return {"kernel": kernel, "bias": jnp.zeros(above)}

    layers = {}
    for index, key_of_layer in enumerate(jax.random.split(key, config.layers)):
        first, second = jax.random.split(key_of_layer)
        layers[f"layer{index}"] = {
            "affine": dense(first, config.condition_dim, 2 * widths[index]),
            "dense": dense(second, widths[index], widths[index + 1]),
        }
    return {**layers, "statistics": statistics(jnp.zeros((1, config.latent_dim)), jnp.zeros((1, config.condition_dim)))}


def statistics(
    z: Float[Array, "pairs latent_dim"], c: Float[Array, "pairs condition_dim"]
) -> dict[str, Float[Array, "..."]]:
    """What standardises latents and conditions, `params["statistics"]`.

    Args:
        z: `[pairs, latent_dim]` float32.
        c: `[pairs, condition_dim]` float32, of the same pairs.

    Returns:
        `latent_mean` `[latent_dim]` and `latent_scale` `[]`, one for all so that lengths keep their proportions;
        `condition_mean` and `condition_scale` `[condition_dim]`. Scales are 1 where nothing varies.
    """
    deviation, own = jnp.sqrt(jnp.mean(jnp.var(z, axis=0))), jnp.std(c, axis=0)
    return {
        "latent_mean": jnp.mean(z, axis=0),
        "latent_scale": jnp.where(deviation > 0, deviation, 1),
        "condition_mean": jnp.mean(c, axis=0),
        "condition_scale": jnp.where(own > 0, own, 1),
    }


def auxiliary(
    params: Params, z: Float[Array, " latent_dim"], c: Float[Array, " condition_dim"]
) -> Float[Array, " latent_dim"]:
    """F(z, c), which a training brings near z wherever c is the condition of z (Eq. 1).

    Args:
        params: As from `init` or `normalized`; they say the architecture.
        z: `[latent_dim]` float32.
        c: `[condition_dim]` float32.

    Returns:
        `[latent_dim]` float32.
    """
    known = params["statistics"]
    condition = (c - known["condition_mean"]) / known["condition_scale"]
    x = (z - known["latent_mean"]) / known["latent_scale"]
    for index in range(_layers(params)):
        layer = params[f"layer{index}"]
        scale, shift = jnp.split(_dense(layer["affine"], condition), 2)
        centred = x - jnp.mean(x)
        x = centred * lax.rsqrt(jnp.mean(jnp.square(centred)) + _EPSILON)
        x = _dense(layer["dense"], jax.nn.leaky_relu((1 + scale) * x + shift, 0.2))
    return known["latent_mean"] + known["latent_scale"] * x


def singular_vectors(params: Params) -> Params:
    """What `normalized` starts from.

    Args:
        params: As from `init`.

    Returns:
        The tree of kernels, with `u` `[out]` float32 in place of each.
    """
    return jax.tree.map(lambda kernel: jnp.full(kernel.shape[1], kernel.shape[1] ** -0.5), _kernels(params))


def normalized(params: Params, vectors: Params) -> tuple[Params, Params]:
    """Normalises all kernels spectrally, by one step of power iteration.

    Args:
        params: As from `init`, with kernels of any norm.
        vectors: As from `singular_vectors` or the step before.

    Returns:
        The parameters for `auxiliary`, and the next vectors.
    """
    pairs = jax.tree.map(spectral_normalized, _kernels(params), vectors)
    layers, found = jax.tree.transpose(jax.tree.structure(vectors), jax.tree.structure((0, 0)), pairs)
    changed = {
        name: {part: {**params[name][part], "kernel": kernel} for part, kernel in parts.items()}
        for name, parts in layers.items()
    }
    return {**params, **changed}, found


def _kernels(params: Params) -> Params:
    layers = [f"layer{index}" for index in range(_layers(params))]
    return {name: {part: params[name][part]["kernel"] for part in ("affine", "dense")} for name in layers}


def _layers(params: Params) -> int:
    return sum(name.startswith("layer") for name in params)


def _dense(params: Params, x: Array) -> Array:
    return jnp.matmul(x, params["kernel"], precision=lax.Precision.HIGHEST) + params["bias"]


@flax.struct.dataclass(repr=False)
class AuxiliaryMapping(Described):
    """F as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: AuxiliaryConfig = flax.struct.field(pytree_node=False)

    def __call__(
        self, z: Float[Array, " latent_dim"], c: Float[Array, " condition_dim"]
    ) -> Float[Array, " latent_dim"]:
        """See `auxiliary`."""
        return auxiliary(self.params, z, c)
