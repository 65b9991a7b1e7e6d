"""What a step of `jaxedit.training.gan` is made of: fakes, the penalties before their weights, moving averages."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from jaxedit.generators import stylegan2, stylegan2_discriminator
from jaxedit.nn.pytrees import Params
from jaxedit.training.gan_config import GanConfig

BUFFERS = ("w_avg", "noise_const")  # stored beside the weights, set by no optimiser


class Code(NamedTuple):
    """The latent code of one fake.

    Attributes:
        z: `[2, z_dim]` float32, two latents.
        w: `[w_dim]` float32, of the first.
        w_plus: `[num_ws, w_dim]` float32: the first one's w in the rows before `crossover`, the other's from there on.
        crossover: int32 scalar, 1 .. num_ws; num_ws where styles are not mixed.
    """

    z: Float[Array, "2 z_dim"]
    w: Float[Array, " w_dim"]
    w_plus: Float[Array, "num_ws w_dim"]
    crossover: Int[Array, ""]


def fake_code(key: Key[Array, ""], params: Params, *, config: GanConfig) -> Code:
    """Draws the latent code of one fake, with style mixing.

    Args:
        key: Draws the latents and where they are mixed.
        params: The generator's parameters.
        config: The networks and the probability of mixing.

    Returns:
        The code.
    """
    z_key, chance_key, row_key = jax.random.split(key, 3)
    num_ws = config.generator.num_ws
    z = jax.random.normal(z_key, (2, config.generator.z_dim))
    first, second = (stylegan2.map_latent(params, row, config=config.generator) for row in z)
    mixed = jax.random.uniform(chance_key) < config.style_mixing
    crossover = jnp.where(mixed, jax.random.randint(row_key, (), 1, num_ws), num_ws)
    return Code(z, first, mixed_w(first, second, crossover, num_ws=num_ws), crossover)


def mixed_w(
    first: Float[Array, " w_dim"], second: Float[Array, " w_dim"], crossover: Int[Array, ""], *, num_ws: int
) -> Float[Array, "num_ws w_dim"]:
    """Mixes two styles.

    Args:
        first: `[w_dim]` float32, in the rows before `crossover`.
        second: Likewise, in the others.
        crossover: int32 scalar, 0 .. num_ws.
        num_ws: Rows of w_plus.

    Returns:
        w_plus, `[num_ws, w_dim]`.
    """
    return jnp.where((jnp.arange(num_ws) < crossover)[:, None], first[None], second[None])


def fake_image(
    params: Params, w: Float[Array, "num_ws w_dim"], noise_key: Key[Array, ""], *, config: GanConfig
) -> Float[Array, "resolution resolution channels"]:
    """Renders a latent code with fresh noise.

    Args:
        params: The generator's parameters.
        w: `[num_ws, w_dim]` float32.
        noise_key: Draws the noise.
        config: The networks.

    Returns:
        `[resolution, resolution, image_channels]` float32, about [-1, 1].
    """
    styles = stylegan2.styles(params, w, config=config.generator)
    return stylegan2.synthesize(params, styles, config=config.generator, noise=noise_key)


def path_length(
    params: Params,
    w: Float[Array, "num_ws w_dim"],
    noise_key: Key[Array, ""],
    direction: Float[Array, "resolution resolution channels"],
    *,
    config: GanConfig,
) -> Float[Array, ""]:
    """Computes `|J^T y|` for the Jacobian J of one synthesis at w_plus (section 3.2).

    Args:
        params: The generator's parameters.
        w: `[num_ws, w_dim]` float32.
        noise_key: Draws the noise of the image.
        direction: The y, an image of normal numbers.
        config: The networks.

    Returns:
        The gradient of `sum(image * y) / sqrt(height * width)`: the root of the mean of its rows' squared norms.
    """
    scale = config.generator.resolution**-1.0
    gradient = jax.grad(lambda w: jnp.sum(fake_image(params, w, noise_key, config=config) * direction) * scale)(w)
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(gradient), axis=1)))


def r1_penalty(
    params: Params, reals: Float[Array, "batch resolution resolution channels"], *, config: GanConfig
) -> Float[Array, ""]:
    """Computes the mean over a batch of the squared norm of the gradient of D(real) to the real image.

    Args:
        params: The discriminator's parameters.
        reals: What the discriminator sees.
        config: The networks.

    Returns:
        A float32 scalar (Mescheder et al., 2018, equation 9, without `gamma / 2`).
    """

    def total(images):
        return jnp.sum(stylegan2_discriminator.discriminate(params, images, config=config.discriminator))

    slopes = jax.grad(total)(reals)
    return jnp.mean(jnp.sum(jnp.square(slopes), axis=(1, 2, 3)))


def ema_decay(images: Float[Array, ""], *, config: GanConfig) -> Float[Array, ""]:
    """Computes the decay of the generator's moving average for one step.

    Args:
        images: Images seen so far, this step's included, float32.
        config: Half-life, its ramp, and the images of a step.

    Returns:
        The weight that the old average keeps, a float32 scalar.
    """
    half_life = jnp.float32(config.ema_images)
    if config.ema_rampup is not None:
        half_life = jnp.minimum(half_life, config.ema_rampup * images)
    return 0.5 ** (config.batch_size / half_life)


def update_ema(average: Params, params: Params, decay: Float[Array, ""]) -> Params:
    """Moves an average towards parameters; `w_avg` and noise maps are taken over as they are.

    Args:
        average: The generator's moving average.
        params: The generator's parameters.
        decay: From `ema_decay`.

    Returns:
        The next average.
    """
    moved = optax.incremental_update(params, average, 1.0 - decay)
    return jax.tree_util.tree_map_with_path(
        lambda path, new, own: own if path[-1].key in BUFFERS else new, moved, params
    )
