"""The losses of L2M-GAN (Yang et al., 2021, Eq. 2 to 7), of one sample or of a batch alike.

`reduction` "sum" is the L1 norm as the paper writes it; "mean" divides it by the count of numbers, as the code of
StarGAN v2 does, for which the weights were chosen.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.methods.l2m_config import L2MConfig

Reduction = Literal["mean", "sum"]
Orthogonality = Literal["l1", "inner", "single"]

_REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum}


def _reduced(values: Array, reduction: Reduction, axis: int | None = None) -> Array:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; 'mean' or 'sum' would be right")
    return _REDUCTIONS[reduction](values, axis=axis)


def discriminator_loss(
    real: Float[Array, "*batch"], fake: Float[Array, "*batch"], *, reduction: Reduction = "mean"
) -> Float[Array, ""]:
    """What the discriminator minimises of Eq. 2, `-log D_y(x) - log(1 - D_y~(G(x, s~)))`.

    Args:
        real: Logits of real images, each for the image's own domain.
        fake: Logits of translated images, each for the target domain.
        reduction: Over all samples.

    Returns:
        `[]`; exact for logits of any size, as all that `log(sigmoid(...))` would make infinite.
    """
    return _reduced(jax.nn.softplus(-real) + jax.nn.softplus(fake), reduction)


def generator_loss(fake: Float[Array, "*batch"], *, reduction: Reduction = "mean") -> Float[Array, ""]:
    """What all others minimise of Eq. 2, in its non-saturating form `-log D_y~(G(x, s~))`.

    Args:
        fake: Logits of translated images, each for the target domain.
        reduction: Over all samples.

    Returns:
        `[]`.
    """
    return _reduced(jax.nn.softplus(-fake), reduction)


def r1_penalty(
    slopes: Float[Array, "*batch height width channels"], *, reduction: Reduction = "mean"
) -> Float[Array, ""]:
    """Half the squared length of the discriminator's gradient to a real image (Mescheder et al., 2018).

    Args:
        slopes: Gradients of `D_y(x)` to x.
        reduction: Over the samples; pixels are always summed.

    Returns:
        `[]`; equal to `r1_reg` of StarGAN v2.
    """
    return _reduced(0.5 * jnp.sum(jnp.square(slopes), axis=(-3, -2, -1)), reduction)


def cycle_loss(
    image: Float[Array, "*shape"], cycled: Float[Array, "*shape"], *, reduction: Reduction = "mean"
) -> Float[Array, ""]:
    """How far an image that was translated there and back is from itself, Eq. 3.

    Args:
        image: x.
        cycled: G(G(x, s~), s).
        reduction: Over all numbers.

    Returns:
        `[]`.
    """
    return _reduced(jnp.abs(cycled - image), reduction)


def style_loss(
    style: Float[Array, "*shape"], found: Float[Array, "*shape"], *, reduction: Reduction = "mean"
) -> Float[Array, ""]:
    """How far the style found in a translated image is from the one that it was drawn with, Eq. 4.

    Args:
        style: s~.
        found: SE_y~(G(x, s~)).
        reduction: Over all numbers.

    Returns:
        `[]`.
    """
    return _reduced(jnp.abs(style - found), reduction)


def perceptual_loss(
    features: Float[Array, "*shape"], translated: Float[Array, "*shape"], *, reduction: Reduction = "mean"
) -> Float[Array, ""]:
    """How far the features of a translated image are from those of the image, Eq. 5.

    Args:
        features: F(x).
        translated: F(G(x, s~)).
        reduction: Over all numbers.

    Returns:
        `[]`.
    """
    return _reduced(jnp.abs(features - translated), reduction)


def orthogonality_loss(
    s_un: Float[Array, "*batch style_dim"],
    s_re: Float[Array, "*batch style_dim"],
    s_re_target: Float[Array, "*batch style_dim"],
    *,
    kind: Orthogonality = "l1",
    reduction: Reduction = "mean",
) -> Float[Array, ""]:
    """How much the part of a style that a domain does not concern has to do with the other part, Eq. 6.

    Args:
        s_un: P(s).
        s_re: s - P(s).
        s_re_target: DT(s - P(s), y~).
        kind: "l1" for the L1 norms of both products. Table 3's variants: "inner" for the sizes of both inner products,
            "single" for that of the first one alone.
        reduction: Over all numbers; the products inside an inner product are reduced likewise.

    Returns:
        `[]`.

    Raises:
        ValueError: Another kind.
    """
    terms = [s_re * s_un, s_re_target * s_un]
    if kind in ("inner", "single"):
        terms = [_reduced(term, reduction, axis=-1) for term in terms[: 1 if kind == "single" else 2]]
    elif kind != "l1":
        raise ValueError(f"kind is {kind!r}; 'l1', 'inner' or 'single' would be right")
    return _reduced(functools.reduce(jnp.add, map(jnp.abs, terms)), reduction)


def overall_loss(
    adversarial: Float[Array, "*batch"],
    cycle: Float[Array, "*batch"],
    style: Float[Array, "*batch"],
    perceptual: Float[Array, "*batch"],
    orthogonality: Float[Array, "*batch"],
    *,
    config: L2MConfig,
) -> Float[Array, "*batch"]:
    """What generator, style encoder, P and DT minimise together (Eq. 7).

    Args:
        adversarial: From `generator_loss`.
        cycle: From `cycle_loss`.
        style: From `style_loss`.
        perceptual: From `perceptual_loss`.
        orthogonality: From `orthogonality_loss`.
        config: The weights.

    Returns:
        The weighted sum, in the losses' shape.
    """
    weighted = config.lambda_cyc * cycle + config.lambda_sty * style
    return adversarial + weighted + config.lambda_per * perceptual + config.lambda_ort * orthogonality
