"""One table of all public array functions, crossed with what every one of them promises.

A new function is one row: a function of `(shared, sample)` where `shared` is not batched, and a batch of eight samples.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import flax.linen
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from untrained import QUICKLY

from jaxedit import (
    Direction,
    alignment,
    avatars,
    families,
    images,
    l2m_gan,
    lelsd,
    metrics,
    nn,
    regions,
    sgf,
    spaces,
    staged,
    style_intervention,
    stylegan2,
    stylegan2_discriminator,
)
from jaxedit.directions import channels
from jaxedit.generators import biggan, mobile_stylegan, progressive, stylegan2_blocks
from jaxedit.generators.biggan import BigGANConfig, BigGANGenerator, BigGANLatent
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig, MobileStyleGANGenerator
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator, SynthesisState
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig, StyleGAN2Discriminator, discriminate
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import l2m_losses
from jaxedit.methods.style_intervention import edited_codes
from jaxedit.networks import (
    age_gender,
    attributes,
    auxiliary_mapping,
    bisenet,
    classifiers,
    deeplab,
    embedding,
    face_crops,
    face_detector,
    face_expressions,
    face_landmarks,
    face_recognition,
    fan,
    feature_parser,
    keypoints,
    l2m_discriminator,
    l2m_generator,
    l2m_style_encoder,
    lpips,
    minilm,
    senet50,
)
from jaxedit.networks.auxiliary_mapping import AuxiliaryConfig
from jaxedit.networks.lpips import LpipsConfig
from jaxedit.nn import crops, depthwise, haar, nearest, resize, spectral, winograd
from jaxedit.nn.depthwise import depthwise_conv2d
from jaxedit.nn.haar import inverse_haar
from jaxedit.nn.nearest import nearest_conv2d
from jaxedit.nn.resize import resize_align_corners
from jaxedit.training import augment, degradation, gan, gan_terms, losses, supervised, surrogate
from jaxedit.training.degradation import degrade
from jaxedit.training.gan_config import config_for

BUDGET = 1e-5  # of the largest value
SAMPLES = 8
BOTH = (jnp.float32, jnp.bfloat16)

CONFIG = StyleGAN2Config(resolution=16, z_dim=24, w_dim=32, channel_base=256, channel_max=16, mapping_layers=2)
SPACES = {space.name: space for space in StyleGAN2Generator({}, CONFIG).spaces}
CLASSES = dataclasses.replace(CONFIG, c_dim=3)
CRITIC = DiscriminatorConfig(resolution=16, channel_base=256, channel_max=16)
CRITIC_OF_CLASSES = dataclasses.replace(CRITIC, c_dim=3, mapping_layers=2)


@dataclasses.dataclass(frozen=True)
class Row:
    """`function(shared(), sample)`, where `samples()` is a tree of eight samples along axis 0."""

    function: Callable[[Any, Any], Any]
    samples: Callable[[], Any]
    shared: Callable[[], Any] = lambda: None
    dtypes: tuple[Any, ...] = (jnp.float32,)  # of the floats in the samples; floats in the result have to be the same
    keeps_dtype: bool = True
    stays_divided: bool = True
    loops: bool = False  # over a function of its arguments, which a call outside of `jit` compiles each time
    large: bool = False  # takes long to compile: only in slow tests, and not called operation by operation


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape), jnp.float32)


def batch(*shape: int) -> Callable[[], jax.Array]:
    return lambda: normal(SAMPLES, *shape)


def const(*shape: int) -> Callable[[], jax.Array]:
    return lambda: normal(*shape)


def keys() -> jax.Array:
    return jax.random.split(jax.random.key(5), SAMPLES)


@functools.cache
def params(config: Any) -> Any:
    """Parameters of which none is zero, so that noise, bias and truncation all act; variances are positive."""
    drawn = jax.tree.map(lambda leaf: normal(*leaf.shape), families.abstract_params(config))
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0.5 + jnp.abs(leaf) if path[-1].key == "var" else leaf, drawn
    )


def weights() -> Any:
    return params(CONFIG)


def generator() -> StyleGAN2Generator:
    return StyleGAN2Generator(weights(), CONFIG)


def critic_of_classes() -> StyleGAN2Discriminator:
    return StyleGAN2Discriminator(params(CRITIC_OF_CLASSES), CRITIC_OF_CLASSES)


def style_batch() -> tuple[jax.Array, ...]:
    return tuple(1 + 0.3 * normal(SAMPLES, layer.width) for layer in CONFIG.style_layers)


def labels() -> jax.Array:
    return jax.nn.one_hot(jnp.arange(SAMPLES) % 3, 3)


def directions() -> dict[str, Direction]:
    total = sum(layer.width for layer in CONFIG.style_layers)
    return {
        "z": Direction(name="z", space="z", vector=normal(CONFIG.z_dim)),
        "w": Direction(name="w", space="w", vector=normal(CONFIG.w_dim), layers=(1, 2)),
        "s": Direction(name="s", space="s", vector=normal(total), layers=(0, 3)),
    }


def edited(shared: tuple[Any, Any], z: Any) -> Any:
    moves = shared[1]
    return spaces.edited(shared[0], z, [(moves["z"], 1.5), (moves["w"], -1.0), (moves["s"], 0.5)])


def face() -> avatars.Factors:
    return avatars.sample_factors(jax.random.key(6))


def factors() -> avatars.Factors:
    return jax.vmap(avatars.sample_factors)(keys())


def drawn(_: Any, sample: avatars.Factors) -> Any:
    rendering = avatars.render(sample, size=16)
    return rendering.image, rendering.parsing.astype(jnp.float32), rendering.keypoints


def of_sample(function: Any) -> Callable[[Any, Any], Any]:
    return lambda _, sample: function(sample)


def with_kernel(function: Any) -> Callable[[Any, Any], Any]:
    return lambda kernel, x: function(x, kernel.astype(x.dtype))


def modulated(**options: Any) -> Callable[[Any, Any], Any]:
    return lambda kernel, sample: nn.modulated_conv2d(sample[0], kernel, sample[1], **options)


def mapped(**options: Any) -> Callable[[Any, Any], Any]:
    return lambda shared, z: stylegan2.map_latent(shared, z, config=CONFIG, **options)


def synthesized(**options: Any) -> Callable[[Any, Any], Any]:
    return lambda shared, styles: stylegan2.synthesize(shared, styles, config=CONFIG, **options)


def conv(kernel: Any, x: Any) -> Any:
    return nn.conv2d(x, kernel.astype(x.dtype), padding=((1, 1), (1, 1)))


def style_conv(_: Any, sample: Any) -> Any:
    layer = nn.StyleConv(8, 8, True, None)
    values = layer.init(jax.random.key(0), sample[0], sample[1], "none")
    return layer.apply(values, *sample)


def to_rgb(_: Any, sample: Any) -> Any:
    layer = nn.ToRGB(3, None)
    return layer.apply(layer.init(jax.random.key(0), *sample), *sample)


def dense(_: Any, x: Any) -> Any:
    layer = nn.Dense(5)
    return layer.apply(layer.init(jax.random.key(0), x), x)


def stage(shared: Any, sample: Any) -> Any:
    """ToRGB of 8 px, with a skip image below it: reads everything that a state holds."""
    state = stylegan2.SynthesisState(sample[0], sample[1])
    return tuple(stylegan2.synthesis_stage(shared, state, sample[2], index=index, config=CONFIG) for index in (3, 4))


def rest(shared: Any, sample: Any) -> Any:
    state = stylegan2.SynthesisState(sample[0], sample[1])
    return stylegan2.synthesize_from(shared, state, sample[2], start=5, config=CONFIG)


def pictures() -> tuple[jax.Array, jax.Array]:
    return batch(12, 13, 3)(), -batch(12, 13, 3)()


def face_mask() -> jax.Array:
    return normal(12, 13) > 0


def as_float(mask: jax.Array) -> jax.Array:
    return mask.astype(jnp.float32)


def parsing_maps() -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).integers(0, 3, (SAMPLES, 16, 16)), jnp.int32)


def flat_image(shared: Any) -> Callable[[Any], Any]:
    return lambda flat: stylegan2.synthesize(shared, stylegan2.split_styles(flat, config=CONFIG), config=CONFIG)


def flat_styles() -> jax.Array:
    return jnp.concatenate(style_batch(), -1)


def interventions() -> Any:
    """Styles, edited styles, a normal, and a mask as a map."""
    styles = style_batch()
    return styles, tuple(-s for s in styles), tuple(s[::-1] for s in styles), batch(16, 16)()


def posed(shared: StyleGAN2Generator, sample: Any) -> Any:
    styles, edited, normal, mask = sample
    joint = StagedStyleGAN2(shared, joint=True)
    return style_intervention.pose(joint, styles, edited, normal, mask > 0)


def edited_maps() -> Any:
    """Two layers before and after an edit, and two masks."""
    before, masks = (batch(4, 4, 5)(), batch(8, 8, 3)()), jax.nn.sigmoid(batch(2, 6, 7)())
    return before, tuple(x[::-1] for x in before), masks[:, 0], masks[:, 1]


def localisations() -> Any:
    """A direction's start and a batch of latents."""
    return keys(), batch(3, 6)()


def localised(weights: Any, sample: Any) -> Any:
    """The directions after a step."""

    def features(latent: Any) -> Any:
        image = jnp.tanh(jnp.einsum("i,ij->j", latent, weights)).reshape(2, 2, 3)
        return image, [image]

    def segment(image: Any) -> Any:
        return jnp.array([[1.0, 0.0], [1.0, 0.0]])

    key, latents = sample
    state = lelsd.init(key, latents[0], config=lelsd.PAPER)
    state, _ = lelsd.step(key, features, segment, state, lelsd.observe(features, segment, latents), config=lelsd.PAPER)
    return lelsd.found(state)


SURROGATE = AuxiliaryConfig(latent_dim=6, condition_dim=2, layers=2, width=8)


def surrogate_params() -> Any:
    return families.init(jax.random.key(0), config=SURROGATE)


def surrogate_field(params: Any, sample: Any, config: sgf.SgfConfig) -> Any:
    """Where a latent comes to whose condition is its first two numbers, and on which way."""
    z, target = sample
    z, info = sgf.run(functools.partial(sgf.auxiliary, params), lambda z: z[:2], z, target, config=config)
    return z, info.path, info.steps.astype(jnp.float32)


def spectral_vectors(params: Any, sample: Any) -> Any:
    """The normalised mapping at a latent; the vectors are shared."""
    weights, _ = auxiliary_mapping.normalized(params, auxiliary_mapping.singular_vectors(params))
    return auxiliary_mapping.auxiliary(weights, *sample)


def latents_and_conditions() -> Any:
    return batch(6)(), batch(2)()


def intervened(shared: StyleGAN2Generator, sample: Any, steps: int | None) -> Any:
    """The edited codes after some steps, or all of them."""
    config = style_intervention.InterventionConfig(max_steps=2)
    joint, problem = StagedStyleGAN2(shared, joint=True), posed(shared, sample)
    if steps is None:
        return edited_codes(problem, style_intervention.run(joint, problem, config=config).coefficients)
    state = style_intervention.init(problem, config=config)
    for _ in range(steps):
        prepared = staged.prepare(joint, joint.start(), problem.codes, index=0)
        state, _ = style_intervention.step(joint, problem, prepared, state, layer=0, config=config)
    return edited_codes(problem, state.coefficients)


def network(function: Any, config: Any) -> Row:
    """A row for the forward pass of a network."""
    size = config.resolution
    return Row(
        lambda shared, image: function(shared, image, config=config),
        batch(size, size, 3),
        lambda: kept_size(config),
        large=True,
    )


def kept_size(config: Any) -> Any:
    """`params` whose kernels keep the size of what they multiply: where it grows a hundredfold, rounding does, too."""
    return jax.tree.map(
        lambda leaf: leaf * np.float32(np.prod(leaf.shape[:-1]) ** -0.5) if leaf.ndim == 4 else leaf, params(config)
    )


def staged_image(shared: StyleGAN2Generator, styles: Any) -> jax.Array:
    """Prepared at a stage in the middle, with the code of another sample there, then rendered."""
    stages = StagedStyleGAN2(shared)
    codes, state = stages.codes(styles), stages.start()
    for index in range(3):
        state = stages.stage(state, codes[index], index=index)
    prepared = staged.prepare(stages, state, tuple(-code for code in codes), index=3)
    return staged.render(stages, prepared, codes, index=3)


def fitted(shared: jax.Array, examples: jax.Array) -> Any:
    """One step of a fit; a sample is a batch of examples."""

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean(jnp.square(params["params"]["a"] - batch)), ({}, {})

    state = supervised.init({"params": {"a": shared}, "batch_stats": {}}, config=FIT)
    state, metrics = supervised.step(jax.random.key(0), state, draw=lambda key: examples, loss=loss, config=FIT)
    return state.params, metrics


def probabilities() -> jax.Array:
    return jnp.linspace(0.2, 0.9, SAMPLES)


def mobile(**options: Any) -> Callable[[Any, Any], Any]:
    return lambda shared, styles: mobile_stylegan.synthesize(shared, styles, config=MOBILE, **options)


def mobile_styles() -> tuple[jax.Array, ...]:
    return tuple(normal(SAMPLES, layer.width) for layer in MOBILE.style_layers)


def classified(shared: BigGANGenerator, sample: Any) -> Any:
    """Of a z, class, and truncation."""
    z, c, psi = sample
    return shared.render(shared.advance("z", z, c=c, truncation_psi=psi))


def biggan_latents() -> BigGANLatent:
    return BigGANLatent(normal(SAMPLES, BIGGAN.rows, 6), batch(6)(), probabilities())


def biggan_params() -> Any:
    """Kernels keep the size of what they multiply, or the images are black and white."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * np.float32(np.prod(leaf.shape[:-1]) ** -0.5) if path[-1].key == "kernel" else leaf,
        params(BIGGAN),
    )


BIGGAN = BigGANConfig(channels=(16, 16, 8), attention_resolution=8, z_dim=6, c_dim=3)
PROGRESSIVE = progressive.ProgressiveConfig(channels=(8, 6, 4), z_dim=5)
LABELLED = progressive.ProgressiveConfig(channels=(8, 6), z_dim=5, c_dim=3)
MOBILE = MobileStyleGANConfig(channels=(16, 8, 4), z_dim=6, w_dim=5, mapping_layers=2)
FIT = supervised.FitConfig(steps=4)
GAN = config_for(CONFIG, batch_size=4, trained=True)
ATTRIBUTES = attributes.AttributesConfig(16, (4, 6), 1, 2, 3)
PARSER = bisenet.BiSeNetConfig(16, (4, 6, 8), 1, 2, 5, 4, 8, 4, 4)
SCENES = deeplab.DeepLabV3Config(2, (1, 1), (1, 2), resolution=24, classes=4, head_width=4, rates=(2, 3))
PROBE = feature_parser.FeatureParserConfig((6, 3, 5), 7, 16)
SCENES_AT_SCALES = deeplab.DeepLabV2Config(2, (1, 1), (1, 2), resolution=32, classes=4, rates=(2, 3), scales=(0.5,))
RESNET18 = classifiers.ResNet18Config(8, (4, 6), 1, 2, classes=3)
RESNET50 = classifiers.ResNet50Config(4, (1, 1), (1, 1), resolution=16, classes=3)
HEAT_MAPS = fan.FANConfig(resolution=16, width=2, depth=1)
SENET = senet50.SEResNet50Config(4, (1, 1), (1, 1), resolution=16, classes=3)
TRANSLATOR = l2m_generator.L2MGeneratorConfig(64, 2, 4, 5)
STYLES = l2m_style_encoder.L2MStyleEncoderConfig(64, 2, 4, 5, 3)
CRITIC_OF_DOMAINS = l2m_discriminator.L2MDiscriminatorConfig(64, 2, 4, 3)
KEYPOINTS = keypoints.KeypointsConfig(16, (4, 6), 1, 2)
EMBEDDING = embedding.EmbeddingConfig(16, (4, 6), 1, 2)


def domains() -> jax.Array:
    return jnp.arange(SAMPLES, dtype=jnp.int32) % 3


def with_styles(function: Any) -> Row:
    """A function of a style encoder's parameters, two styles and a domain."""
    return Row(lambda p, s: function(p, *s), lambda: (batch(5)(), -batch(5)(), domains()), lambda: kept_size(STYLES))


def thumbnails() -> tuple[jax.Array, jax.Array]:
    return batch(32, 32, 3)(), -batch(32, 32, 3)()


SENTENCES = minilm.MiniLMConfig(8, 2, 2, 12, pieces=9, positions=7, length=7, vocabulary_bytes=4)


def small_sentences() -> Any:
    """Of numbers that leave attention between one piece and all."""
    return jax.tree.map(lambda leaf: 0.5 * leaf, params(SENTENCES))


def pieces_and_mask() -> tuple[jax.Array, jax.Array]:
    """Sentences of one to seven pieces."""
    places = jnp.arange(SAMPLES * 7).reshape(SAMPLES, 7)
    return 5 * places % 9, places % 7 <= places // 7


def face_row(function: Callable[..., Any], config: Any) -> Row:
    """A network of faces, of one crop; its kernels keep the size of what they multiply, or exponentials overflow."""
    side = config.resolution

    def weak() -> Any:
        return jax.tree.map(lambda leaf: leaf * np.float32(np.prod(leaf.shape[:-1]) ** -0.5), params(config))

    return Row(lambda p, s: function(p, s, config=config), batch(side, side, 3), weak, large=True)


TABLE = {
    "nn.conv2d": Row(conv, batch(8, 8, 6), const(3, 3, 6, 5), BOTH),
    # One kernel per sample is a grouped convolution, which the library itself never uses; XLA gathers it on one device.
    "nn.conv2d/kernels": Row(
        lambda _, s: conv(s[1], s[0]), lambda: (batch(8, 8, 6)(), batch(3, 3, 6, 5)()), stays_divided=False
    ),
    "nn.upsample2d": Row(of_sample(nn.upsample2d), batch(4, 6, 3), dtypes=BOTH),
    "nn.downsample2d": Row(of_sample(nn.downsample2d), batch(4, 6, 3), dtypes=BOTH),
    "nn.upsample_conv2d": Row(with_kernel(nn.upsample_conv2d), batch(4, 6, 3), const(3, 3, 3, 5), BOTH),
    "nn.downsample_conv2d": Row(with_kernel(nn.downsample_conv2d), batch(4, 6, 3), const(3, 3, 3, 5), BOTH),
    "nn.modulated_conv2d": Row(modulated(up=False), lambda: (batch(8, 8, 6)(), batch(6)()), const(3, 3, 6, 5)),
    "nn.modulated_conv2d/up": Row(modulated(up=True), lambda: (batch(8, 8, 6)(), batch(6)()), const(3, 3, 6, 5)),
    "nn.leaky_relu": Row(of_sample(nn.leaky_relu), batch(7), dtypes=BOTH),
    "nn.normalize_second_moment": Row(of_sample(nn.normalize_second_moment), batch(7), dtypes=BOTH),
    "nn.StyleConv": Row(style_conv, lambda: (batch(4, 4, 6)(), batch(6)(), keys())),
    "nn.ToRGB": Row(to_rgb, lambda: (batch(4, 4, 6)(), batch(6)())),
    "nn.Dense": Row(dense, batch(7)),
    "winograd.winograd_conv2d": Row(
        lambda k, x: winograd.winograd_conv2d(x, k, reverse=False), batch(2, 8, 4, 6), const(3, 3, 6, 5)
    ),
    "stylegan2.map_latent": Row(mapped(truncation_psi=0.7), batch(24), weights),
    "stylegan2.map_latent/cutoff": Row(mapped(truncation_psi=0.7, truncation_cutoff=2), batch(24), weights),
    "stylegan2.map_latent/classes": Row(
        lambda p, s: stylegan2.map_latent(p, *s, config=CLASSES),
        lambda: (batch(24)(), labels()),
        lambda: params(CLASSES),
    ),
    "stylegan2.styles": Row(lambda p, w: stylegan2.styles(p, w, config=CONFIG), batch(32), weights),
    "stylegan2.styles/w_plus": Row(lambda p, w: stylegan2.styles(p, w, config=CONFIG), batch(6, 32), weights),
    "stylegan2.initial_state": Row(
        lambda p, s: stylegan2.initial_state(p, config=CONFIG).x * s, batch(1, 1, 1), weights
    ),
    "stylegan2.synthesis_stage": Row(stage, lambda: (batch(8, 8, 16)(), batch(4, 4, 3)(), batch(16)()), weights),
    "stylegan2.synthesize_from": Row(rest, lambda: (batch(8, 8, 16)(), batch(8, 8, 3)(), style_batch()), weights),
    "stylegan2.synthesize": Row(synthesized(), style_batch, weights),
    "stylegan2.synthesize/features": Row(synthesized(with_features=True), style_batch, weights),
    "stylegan2.synthesize/key": Row(
        lambda p, s: stylegan2.synthesize(p, s[0], config=CONFIG, noise=s[1]), lambda: (style_batch(), keys()), weights
    ),
    "stylegan2_blocks.synthesize_block": Row(
        lambda p, s: stylegan2_blocks.synthesize_block(p, s, jnp.array([1, 2]), size=4, config=CONFIG),
        style_batch,
        weights,
    ),
    "stylegan2.StyleGAN2Generator": Row(lambda g, z: g.synthesize(g.styles(g.map(z))), batch(24), generator),
    # The samples of a discriminator's batch see each other by design (tested below), so one sample is a batch here.
    "stylegan2_discriminator.minibatch_stddev": Row(
        lambda _, x: stylegan2_discriminator.minibatch_stddev(x, group_size=2, num_channels=2), batch(4, 3, 3, 6)
    ),
    "stylegan2_discriminator.discriminate": Row(
        lambda p, x: discriminate(p, x, config=CRITIC), batch(4, 16, 16, 3), lambda: params(CRITIC)
    ),
    "stylegan2_discriminator.StyleGAN2Discriminator": Row(
        lambda d, s: d.discriminate(*s),
        lambda: (batch(4, 16, 16, 3)(), jnp.stack([labels()[:4]] * 8)),
        critic_of_classes,
    ),
    "attributes.classify": network(attributes.classify, ATTRIBUTES),
    "attributes.pooled_features": network(attributes.pooled_features, ATTRIBUTES),
    "attributes.feature_maps": network(attributes.feature_maps, ATTRIBUTES),
    "bisenet.segment": network(bisenet.segment, PARSER),
    "senet50.classify": network(senet50.classify, SENET),
    "senet50.pooled_features": network(senet50.pooled_features, SENET),
    "classifiers.classify": network(classifiers.classify, RESNET18),
    "classifiers.pooled_features": network(classifiers.pooled_features, RESNET50),
    "classifiers.feature_maps": network(classifiers.feature_maps, RESNET50),
    "fan.heat_maps": network(fan.heat_maps, HEAT_MAPS),
    "fan.landmarks": network(fan.landmarks, HEAT_MAPS),
    "fan.masks": network(fan.masks, HEAT_MAPS),
    "deeplab.segment": network(deeplab.segment, SCENES),
    "deeplab.segment/scales": network(deeplab.segment, SCENES_AT_SCALES),
    "deeplab.parse": network(lambda *given, config: deeplab.parse(*given, config=config).astype(jnp.float32), SCENES),
    "l2m_generator.translate": Row(
        lambda p, s: l2m_generator.translate(p, s[0], s[1], config=TRANSLATOR, masks=(s[2], s[2])),
        lambda: (batch(64, 64, 3)(), batch(5)(), jax.nn.sigmoid(batch(80, 70)())),
        lambda: kept_size(TRANSLATOR),
        large=True,
    ),
    "l2m_style_encoder.encode": Row(
        lambda p, s: l2m_style_encoder.encode(p, *s, config=STYLES),
        lambda: (batch(64, 64, 3)(), domains()),
        lambda: kept_size(STYLES),
        large=True,
    ),
    "l2m_style_encoder.decompose": with_styles(lambda p, s, other, y: l2m_style_encoder.decompose(p, s)),
    "l2m_style_encoder.transform": with_styles(lambda p, s, other, y: l2m_style_encoder.transform(p, s, y)),
    "l2m_gan.edited_style": with_styles(lambda p, s, other, y: l2m_gan.edited_style(p, s, y, strength=other[0])),
    "l2m_gan.reference_style": with_styles(lambda p, s, other, y: l2m_gan.reference_style(p, s, other)),
    "l2m_discriminator.discriminate": network(l2m_discriminator.discriminate, CRITIC_OF_DOMAINS),
    "l2m_losses.discriminator_loss": Row(lambda _, x: l2m_losses.discriminator_loss(x, x[::-1]), batch(4)),
    "l2m_losses.generator_loss": Row(of_sample(l2m_losses.generator_loss), batch(4)),
    "l2m_losses.r1_penalty": Row(of_sample(l2m_losses.r1_penalty), batch(2, 4, 4, 3)),
    "l2m_losses.cycle_loss": Row(lambda _, s: l2m_losses.cycle_loss(*s), pictures),
    "l2m_losses.style_loss": Row(lambda _, x: l2m_losses.style_loss(x, x[::-1]), batch(5)),
    "l2m_losses.perceptual_loss": Row(lambda _, x: l2m_losses.perceptual_loss(x, x[::-1]), batch(5)),
    "l2m_losses.orthogonality_loss": Row(
        lambda other, x: l2m_losses.orthogonality_loss(x, x[::-1], other, kind="inner"), batch(5), const(5)
    ),
    "l2m_losses.overall_loss": Row(lambda _, x: l2m_losses.overall_loss(*x, config=l2m_gan.L2MConfig()), batch(5)),
    "feature_parser.segment": Row(
        lambda p, maps: feature_parser.segment(p, maps, config=PROBE),
        lambda: (batch(4, 4, 6)(), batch(8, 8, 3)(), batch(8, 8, 5)()),
        lambda: params(PROBE),
    ),
    "keypoints.locate": network(keypoints.locate, KEYPOINTS),
    "embedding.embed": network(embedding.embed, EMBEDDING),
    "resize.resize_align_corners": Row(
        of_sample(functools.partial(resize_align_corners, height=9, width=3)), batch(4, 6, 2), dtypes=BOTH
    ),
    "staged.prepare": Row(staged_image, style_batch, generator),
    "staged.render": Row(staged_image, style_batch, generator),
    "staged.synthesize": Row(lambda g, s: staged.synthesize(StagedStyleGAN2(g), s), style_batch, generator),
    # A sample of a loss is a batch of a training.
    "losses.attribute_loss": Row(lambda _, x: losses.attribute_loss(x, x[::-1] > 0), batch(4, 5)),
    "losses.parsing_loss": Row(
        lambda _, s: losses.parsing_loss(*s), lambda: (batch(2, 16, 16, 3)(), jnp.stack([parsing_maps()[:2]] * SAMPLES))
    ),
    "losses.keypoint_loss": Row(lambda other, x: losses.keypoint_loss(x, other), batch(4, 6, 2), const(4, 6, 2)),
    "losses.contrastive_loss": Row(
        lambda other, x: losses.contrastive_loss(x, other, temperature=0.2), batch(4, 6), const(4, 6)
    ),
    "supervised.init": Row(fitted, batch(5), const(5)),
    "supervised.step": Row(fitted, batch(5), const(5)),
    "augment.augment": Row(
        lambda _, s: augment.augment(*s),
        lambda: (keys(), batch(8, 8, 3)(), probabilities()),
        stays_divided=False,
        large=True,
    ),
    "augment.warp": Row(
        lambda source, image: augment.warp(image, source), batch(8, 9, 3), const(2, 3), stays_divided=False
    ),
    "augment.update_probability": Row(
        lambda _, p: augment.update_probability(p, p - 0.5, target=0.1, images=64.0, speed=1000.0), probabilities
    ),
    "degradation.degrade": Row(lambda _, s: degrade(*s), lambda: (keys(), batch(8, 8, 3)())),
    "gan_terms.fake_code": Row(
        lambda p, key: jax.tree.map(as_float, gan_terms.fake_code(key, p, config=GAN)), keys, weights
    ),
    "gan_terms.mixed_w": Row(
        lambda other, s: gan_terms.mixed_w(s[0], other, s[1], num_ws=6),
        lambda: (batch(8)(), jnp.arange(SAMPLES, dtype=jnp.int32)),
        const(8),
    ),
    "gan_terms.fake_image": Row(
        lambda p, s: gan_terms.fake_image(p, *s, config=GAN), lambda: (batch(6, 32)(), keys()), weights, large=True
    ),
    "gan_terms.path_length": Row(
        lambda p, s: gan_terms.path_length(p, *s, config=GAN),
        lambda: (batch(6, 32)(), keys(), batch(16, 16, 3)()),
        weights,
        large=True,
    ),
    "gan_terms.r1_penalty": Row(
        lambda p, x: gan_terms.r1_penalty(p, x, config=GAN),
        batch(4, 16, 16, 3),
        lambda: params(GAN.discriminator),
        large=True,
    ),
    "gan_terms.ema_decay": Row(lambda _, n: gan_terms.ema_decay(1000 * n, config=GAN), probabilities),
    "gan_terms.update_ema": Row(
        lambda own, s: gan_terms.update_ema({"a": s[0]}, {"a": own}, s[1]),
        lambda: (batch(8)(), probabilities()),
        const(8),
    ),
    "haar.inverse_haar": Row(of_sample(inverse_haar), batch(3, 5, 8), dtypes=BOTH),
    "nearest.nearest_conv2d": Row(with_kernel(nearest_conv2d), batch(4, 6, 3), const(3, 3, 3, 5), BOTH),
    "nearest.pooled_conv2d": Row(with_kernel(nearest.pooled_conv2d), batch(4, 6, 3), const(3, 3, 3, 5), BOTH),
    "depthwise.depthwise_conv2d": Row(with_kernel(depthwise_conv2d), batch(4, 6, 5), const(3, 3, 5), BOTH),
    "mobile_stylegan.map_latent": Row(
        lambda p, z: mobile_stylegan.map_latent(p, z, config=MOBILE, truncation_psi=0.7),
        batch(6),
        lambda: params(MOBILE),
    ),
    "mobile_stylegan.styles": Row(
        lambda p, w: mobile_stylegan.styles(p, w, config=MOBILE), batch(8, 5), lambda: params(MOBILE)
    ),
    "mobile_stylegan.synthesize": Row(mobile(), mobile_styles, lambda: params(MOBILE)),
    "mobile_stylegan.synthesize/features": Row(mobile(with_features=True), mobile_styles, lambda: params(MOBILE)),
    "mobile_stylegan.synthesize/preview": Row(
        mobile(preview=True, noise="none"), mobile_styles, lambda: params(MOBILE)
    ),
    "mobile_stylegan.MobileStyleGANGenerator": Row(
        lambda g, z: g.render(g.advance("w_plus", g.advance("w", g.advance("z", z)))),
        batch(6),
        lambda: MobileStyleGANGenerator(params(MOBILE), MOBILE),
        large=True,
    ),
    "biggan.condition": Row(
        lambda p, s: biggan.condition(p, s[0], config=BIGGAN, c=s[1], truncation_psi=s[2]),
        lambda: (batch(6)(), labels(), probabilities()),
        biggan_params,
    ),
    "biggan.synthesize": Row(
        lambda p, s: biggan.synthesize(p, s, config=BIGGAN), biggan_latents, biggan_params, large=True
    ),
    "biggan.synthesize/features": Row(
        lambda p, s: biggan.synthesize(p, s, config=BIGGAN, with_features=True),
        biggan_latents,
        biggan_params,
        large=True,
    ),
    "biggan.BigGANGenerator": Row(
        classified,
        lambda: (batch(6)(), labels(), probabilities()),
        lambda: BigGANGenerator(biggan_params(), BIGGAN),
        large=True,
    ),
    "progressive.synthesize": Row(
        lambda p, z: progressive.synthesize(p, z, config=PROGRESSIVE),
        batch(5),
        lambda: params(PROGRESSIVE),
        large=True,
    ),
    "progressive.synthesize/features": Row(
        lambda p, z: progressive.synthesize(p, z, config=PROGRESSIVE, with_features=True),
        batch(5),
        lambda: params(PROGRESSIVE),
        large=True,
    ),
    "progressive.ProgressiveGenerator": Row(
        lambda g, s: g.render(g.advance("z", s[0], c=s[1])),
        lambda: (batch(5)(), labels()),
        lambda: progressive.ProgressiveGenerator(params(LABELLED), LABELLED),
        large=True,
    ),
    "images.to_uint8": Row(of_sample(images.to_uint8), batch(4, 4, 3), dtypes=BOTH, keeps_dtype=False),
    "images.from_uint8": Row(of_sample(images.from_uint8), lambda: jnp.arange(96, dtype=jnp.uint8).reshape(8, 2, 2, 3)),
    "stylegan2.split_styles": Row(
        lambda _, s: stylegan2.split_styles(s, config=CONFIG), lambda: jnp.concatenate(style_batch(), -1), dtypes=BOTH
    ),
    "stylegan2.join_styles": Row(of_sample(stylegan2.join_styles), style_batch, dtypes=BOTH),
    "spaces.displacement": Row(
        lambda d, s: spaces.displacement(d["w"].replace(vector=s), space=SPACES["w"]), batch(32), directions
    ),
    "spaces.add_directions": Row(
        lambda d, z: spaces.add_directions(z, [(d["z"], 2.0)], space=SPACES["z"]), batch(24), directions, BOTH
    ),
    "spaces.add_directions/s": Row(
        lambda d, s: spaces.add_directions(s[0], [(d["s"], s[1])], space=SPACES["s"]),
        lambda: (style_batch(), batch()()),
        directions,
        BOTH,
    ),
    "spaces.joined": Row(of_sample(spaces.joined), style_batch, dtypes=BOTH),
    "spaces.edited": Row(edited, batch(24), lambda: (generator(), directions())),
    "metrics.masked_mse": Row(lambda mask, s: metrics.masked_mse(s[0], s[1], mask), pictures, face_mask),
    "metrics.share_inside": Row(lambda mask, s: metrics.share_inside(s[0], s[1], mask), pictures, face_mask),
    "metrics.localization_lpips": Row(
        lambda mask, s: metrics.localization_lpips(jnp.abs(s[0] - s[1]).sum(-1), mask.astype(jnp.float32)),
        pictures,
        face_mask,
    ),
    "metrics.psnr": Row(lambda _, s: metrics.psnr(*s), pictures),
    "metrics.ssim": Row(lambda _, s: metrics.ssim(*s), pictures),
    "metrics.identity_score": Row(lambda _, s: metrics.identity_score(*s), lambda: (batch(7)(), -batch(7)())),
    "metrics.attribute_change": Row(lambda _, s: metrics.attribute_change(*s), lambda: (batch(7)(), -batch(7)())),
    "mobile_stylegan.initial_state": Row(
        lambda p, s: mobile_stylegan.initial_state(p, config=MOBILE).x * s, batch(1, 1, 1), lambda: params(MOBILE)
    ),
    "mobile_stylegan.synthesis_stage": Row(
        lambda p, s: (
            mobile_stylegan.synthesis_stage(p, SynthesisState(s[0], None), s[1], index=0, config=MOBILE, noise="none").x
        ),
        lambda: (batch(4, 4, MOBILE.channels[0])(), batch(MOBILE.channels[0])()),
        lambda: params(MOBILE),
    ),
    "lpips.distance": Row(
        lambda p, s: lpips.distance(p, *s, config=LpipsConfig()), thumbnails, lambda: params(LpipsConfig())
    ),
    "lpips.distance_map": Row(
        lambda p, s: lpips.distance_map(p, *s, config=LpipsConfig()), thumbnails, lambda: params(LpipsConfig())
    ),
    "age_gender.estimate": face_row(age_gender.estimate, age_gender.AgeGenderConfig(16, (4, 8, 8), 1)),
    "face_detector.detect": face_row(face_detector.detect, face_detector.FaceDetectorConfig(96, (4, 4, 8, 8, 8, 8))),
    "face_detector.best_box": Row(
        of_sample(lambda s: face_detector.best_box(face_detector.Detections(*s))),
        lambda: (batch(5, 4)(), batch(5)()),
    ),
    "face_expressions.classify": face_row(
        face_expressions.classify, face_expressions.FaceExpressionsConfig(16, (4, 8))
    ),
    "face_landmarks.locate": face_row(face_landmarks.locate, face_landmarks.FaceLandmarksConfig(16, (4, 8))),
    "minilm.encode": Row(lambda p, s: minilm.encode(p, *s, config=SENTENCES), pieces_and_mask, small_sentences),
    "face_recognition.embed": face_row(face_recognition.embed, face_recognition.FaceRecognitionConfig(35, 4, (1, 1))),
    "crops.sample_quad": Row(
        lambda _, s: crops.sample_quad(*s, size=5, padding="mirror", pool=2), lambda: (batch(8, 8, 3)(), batch(4, 2)())
    ),
    "face_crops.box_crop": Row(
        lambda _, s: face_crops.box_crop(s, np.array([-0.5, -0.4, 0.6, 0.7], np.float32), size=6), batch(8, 8, 3)
    ),
    "face_crops.place_points": Row(
        lambda _, s: face_crops.place_points(s, np.array([-0.5, -0.4, 0.6, 0.7], np.float32), height=8, width=8),
        batch(68, 2),
    ),
    "face_crops.landmark_box": Row(of_sample(face_crops.landmark_box), batch(68, 2)),
    "face_crops.chip_of": Row(lambda _, s: face_crops.chip_of(*s, size=6), lambda: (batch(8, 8, 3)(), batch(68, 2)())),
    "alignment.alignment_quad": Row(lambda _, s: alignment.alignment_quad(s, height=8, width=8), batch(68, 2)),
    "alignment.align": Row(lambda _, s: alignment.align(*s, size=6), lambda: (batch(8, 8, 3)(), batch(68, 2)())),
    "regions.landmark_mask": Row(
        lambda _, s: as_float(regions.landmark_mask(s, region="face", height=8, width=8)), batch(68, 2)
    ),
    "regions.mask_of": Row(lambda _, s: as_float(regions.mask_of(s, ("skin", "hair"))), parsing_maps),
    "regions.dilate": Row(lambda _, s: as_float(regions.dilate(s < 2, size=3)), parsing_maps),
    # One sample is a set of examples or of images here.
    "channels.rank_channels": Row(
        lambda d, s: channels.rank_channels(s, 0.1 * d, jnp.abs(d))[1:], batch(5, 40), const(40)
    ),
    "channels.gradient_maps": Row(
        lambda p, s: channels.gradient_maps(flat_image(p), s, size=2, batch_size=4), flat_styles, weights, large=True
    ),
    "channels.local_gradient_maps": Row(
        lambda g, s: channels.local_gradient_maps(g, s, size=4, batch_size=4),
        flat_styles,
        generator,
        large=True,
    ),
    "channels.region_overlaps": Row(
        lambda _, s: channels.region_overlaps(s[0], s[1], (("background",), ("skin",))),
        lambda: (batch(5, 4, 4)(), parsing_maps()),
        stays_divided=False,  # XLA's sort on the CPU gathers a divided batch
        loops=True,
    ),
    "channels.activity": Row(of_sample(channels.activity), batch(3, 5, 4)),
    "style_intervention.pose": Row(posed, interventions, generator),
    "style_intervention.init": Row(lambda g, s: intervened(g, s, 0), interventions, generator),
    "style_intervention.step": Row(lambda g, s: intervened(g, s, 1), interventions, generator, large=True),
    "style_intervention.run": Row(
        lambda g, s: intervened(g, s, None),
        interventions,
        generator,
        stays_divided=False,  # the loop ends with the last image
        large=True,
    ),
    "lelsd.layer_scores": Row(lambda _, s: lelsd.layer_scores(*s, config=lelsd.PAPER), edited_maps),
    "lelsd.localization_score": Row(lambda _, s: lelsd.localization_score(*s, config=lelsd.OFFICIAL), edited_maps),
    "lelsd.direction_regularizer": Row(lambda _, s: lelsd.direction_regularizer(s, config=lelsd.PAPER), batch(2, 4, 6)),
    "lelsd.learning_rate": Row(
        lambda _, s: lelsd.learning_rate(s, config=lelsd.PAPER), lambda: 30 * jnp.arange(SAMPLES, dtype=jnp.int32)
    ),
    "lelsd.init": Row(
        lambda x, k: lelsd.init(k, x, config=lelsd.LelsdConfig(directions=2)).directions, keys, const(4, 6)
    ),
    "spectral.spectral_normalized": Row(
        lambda u, kernel: spectral.spectral_normalized(kernel, u), batch(5, 7), const(7)
    ),
    "auxiliary_mapping.auxiliary": Row(
        lambda p, s: auxiliary_mapping.auxiliary(p, *s), latents_and_conditions, surrogate_params
    ),
    "auxiliary_mapping.normalized": Row(spectral_vectors, latents_and_conditions, surrogate_params),
    "auxiliary_mapping.statistics": Row(
        lambda _, s: auxiliary_mapping.statistics(*s), lambda: (batch(9, 6)(), batch(9, 2)())
    ),
    "sgf.displacement": Row(
        lambda p, s: sgf.displacement(functools.partial(sgf.auxiliary, p), s[0], s[1], jnp.ones(2), order=2),
        latents_and_conditions,
        surrogate_params,
    ),
    "sgf.exact_displacement": Row(
        lambda p, s: sgf.exact_displacement(functools.partial(sgf.auxiliary, p), s[0], s[1], jnp.ones(2)),
        latents_and_conditions,
        surrogate_params,
    ),
    "sgf.distance": Row(
        lambda weights, s: sgf.distance(s[0], s[1], weights=weights), lambda: (batch(2)(), -batch(2)()), const(2)
    ),
    "sgf.run": Row(
        lambda p, s: surrogate_field(p, s, sgf.SgfConfig(max_steps=3)),
        latents_and_conditions,
        surrogate_params,
        large=True,
    ),
    "surrogate.loss": Row(
        lambda p, s: surrogate.loss(
            {"params": p, "batch_stats": auxiliary_mapping.singular_vectors(p)}, surrogate.Pairs(*s)
        )[0],
        lambda: (batch(9, 6)(), batch(9, 2)()),
        surrogate_params,
    ),
    "surrogate.measure": Row(
        lambda p, s: surrogate.measure(p, surrogate.Pairs(*s)),
        lambda: (batch(9, 6)(), batch(9, 2)()),
        surrogate_params,
        large=True,
    ),
    "surrogate.draw": Row(
        lambda p, key: surrogate.draw(key, surrogate.Pairs(*p), batch_size=3),
        keys,
        lambda: (batch(9, 6)()[0], batch(9, 2)()[0]),
    ),
    "metrics.disentanglement_curve": Row(
        lambda before, after: metrics.disentanglement_curve(before, after, 1), batch(3, 9, 4), const(9, 4)
    ),
    "metrics.disentanglement_score": Row(
        lambda _, s: metrics.disentanglement_score(metrics.DisentanglementCurve(*s), start=True, hold=True),
        lambda: (batch(5)(), batch(5)()),
    ),
    "lelsd.step": Row(localised, localisations, const(6, 12), large=True),
    # One sample is a set here. XLA's TopK on the CPU gathers a divided batch.
    "metrics.nearest_neighbors": Row(
        lambda points, queries: metrics.nearest_neighbors(queries, points, k=2).distances,
        batch(4, 6),
        const(20, 6),
        stays_divided=False,
    ),
    "metrics.precision_recall": Row(
        lambda real, fake: metrics.precision_recall(real, fake, k=2), batch(12, 6), const(20, 6), stays_divided=False
    ),
    "avatars.sample_factors": Row(of_sample(avatars.sample_factors), keys),
    "avatars.factors_from_normal": Row(of_sample(avatars.factors_from_normal), batch(len(avatars.LATENTS))),
    "avatars.attributes": Row(of_sample(lambda f: avatars.attributes(f).astype(jnp.float32)), factors),
    "avatars.with_identity": Row(
        lambda other, f: avatars.with_identity(f, other),
        factors,
        face,
        stays_divided=False,  # the identity is shared
    ),
    "avatars.render": Row(drawn, factors, large=True),
}
# Not functions of arrays; `gan.step` has tests of its own, and `init` draws parameters from a key.
EXEMPT = {
    *("progressive.ProgressiveConfig", "progressive.LabelledLatent", "progressive.init"),
    *("biggan.BigGANConfig", "biggan.BigGANLayer", "biggan.BigGANLatent", "biggan.init"),
    *("mobile_stylegan.MobileStyleGANConfig", "mobile_stylegan.init"),
    *(f"{name}.init" for name in ("attributes", "bisenet", "deeplab", "keypoints", "embedding", "gan")),
    *("attributes.AttributesConfig", "attributes.AttributeClassifier", "bisenet.BiSeNetConfig", "bisenet.FaceParser"),
    *("deeplab.DeepLabV3Config", "deeplab.DeepLabV3", "deeplab.DeepLabV2Config", "deeplab.DeepLabV2"),
    *("feature_parser.FeatureParserConfig", "feature_parser.FeatureParser", "feature_parser.init"),
    *("senet50.SEResNet50Config", "senet50.SEResNet50", "senet50.init"),
    *("classifiers.ResNet18Config", "classifiers.ResNet50Config", "classifiers.AttributeResNetConfig"),
    *("classifiers.ResNet18", "classifiers.ResNet50", "classifiers.AttributeResNet", "classifiers.init"),
    *("fan.FANConfig", "fan.FAN", "fan.init"),
    *("l2m_generator.L2MGeneratorConfig", "l2m_generator.L2MGenerator", "l2m_generator.init"),
    *("l2m_style_encoder.L2MStyleEncoderConfig", "l2m_style_encoder.L2MStyleEncoder", "l2m_style_encoder.init"),
    *("l2m_discriminator.L2MDiscriminatorConfig", "l2m_discriminator.L2MDiscriminator", "l2m_discriminator.init"),
    *("l2m_gan.L2MState", "l2m_gan.StepInfo", "l2m_gan.init", "l2m_gan.step"),  # as `gan.step`
    *("keypoints.KeypointsConfig", "keypoints.KeypointDetector", "embedding.EmbeddingConfig"),
    *("embedding.IdentityEmbedding", "staged.StagedSynthesis", "staged.Prepared"),
    *("supervised.FitConfig", "supervised.FitState", "supervised.fit"),
    *("gan.step", "gan.GanState", "gan.StepInfo", "gan_terms.Code"),
    *("stylegan2.StyleGAN2Config", "stylegan2.StyleLayer", "stylegan2.SynthesisState", "stylegan2.init"),
    *("stylegan2_discriminator.DiscriminatorConfig", "stylegan2_discriminator.init"),
    *("channels.ChannelRanking", "channels.channel_direction", "regions.classes_of"),
    *("style_intervention.InterventionConfig", "style_intervention.Problem", "style_intervention.State"),
    *("style_intervention.Losses", "style_intervention.merged", "style_intervention.edited_codes"),
    "style_intervention.next_layer",  # these three are parts of `run`
    *("style_intervention.step_batch", "style_intervention.run_batch"),  # called from the host
    *("lelsd.LelsdConfig", "lelsd.Samples", "lelsd.State", "lelsd.Info"),
    *("lelsd.observe", "lelsd.moved", "lelsd.found"),  # in the row of `step`
    *("lelsd.run", "lelsd.step_parts"),  # loops over `step`
    *("sgf.SgfConfig", "sgf.State", "sgf.Step", "sgf.Info", "sgf.run_batch"),  # the last is called from the host
    *("sgf.init", "sgf.step", "sgf.closest", "sgf.diverging"),  # parts of `run`, or of what it returns
    *("auxiliary_mapping.AuxiliaryConfig", "auxiliary_mapping.AuxiliaryMapping", "auxiliary_mapping.init"),
    *("auxiliary_mapping.singular_vectors", "surrogate.Pairs", "surrogate.fit", "metrics.DisentanglementCurve"),
    *("metrics.Neighbors", "metrics.PrecisionRecall", "metrics.frechet_distance"),
    *(
        "avatars.Factors",
        "avatars.Rendering",
        "avatars.load_generator",
        "avatars.load_classifier",
        "avatars.load_judge",
    ),
    *("avatars.load_parser", "avatars.load_keypoints", "avatars.load_embedding"),
    *("avatars.load_direction", "avatars.load_directions"),
    *(f"{name}.init" for name in ("lpips", "age_gender", "face_detector", "face_expressions", "face_landmarks")),
    *("minilm.MiniLMConfig", "minilm.MiniLM", "minilm.init"),
    *("face_recognition.init", "lpips.LpipsConfig", "lpips.Lpips", "lpips.TrunkLayer"),
    *("age_gender.AgeGenderConfig", "age_gender.AgeGender", "face_detector.FaceDetectorConfig"),
    *("face_detector.FaceDetector", "face_detector.Detections", "face_expressions.FaceExpressionsConfig"),
    *("face_expressions.FaceExpressions", "face_landmarks.FaceLandmarksConfig", "face_landmarks.FaceLandmarks"),
    *("face_recognition.FaceRecognitionConfig", "face_recognition.FaceRecognition"),
    *("spaces.Direction", "spaces.resolve_layers", "images.image_grid", "images.save_png", "images.read_png"),
    *("images.open_picture", "images.check_picture"),
}

SLOW = pytest.mark.slow
ROWS = [pytest.param(name, marks=SLOW if row.large else ()) for name, row in TABLE.items()]
every_row = pytest.mark.parametrize("name", ROWS)


def public_names(module: ModuleType) -> set[str]:
    """Functions and classes of a module; networks (linen modules) are covered by the functions that apply them."""
    label, found = module.__name__.rpartition(".")[2], set()
    for name, value in vars(module).items():
        own = callable(value) and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
        network = inspect.isclass(value) and issubclass(value, flax.linen.Module) and module is not nn
        if own and not name.startswith("_") and not network:
            found.add(f"{label}.{name}")
    return found


def test_every_public_array_function_has_a_row():
    """Protects: the table from being forgotten when a function is added."""
    modules = (nn, winograd, stylegan2, stylegan2_discriminator, images, spaces, metrics, avatars)
    modules += (lelsd, stylegan2_blocks, regions, channels, style_intervention, resize, attributes, bisenet, keypoints)
    modules += (
        classifiers,
        deeplab,
        fan,
        haar,
        nearest,
        depthwise,
        crops,
        alignment,
        age_gender,
        face_crops,
        face_detector,
        face_expressions,
        face_landmarks,
        face_recognition,
        feature_parser,
        l2m_discriminator,
        l2m_gan,
        l2m_generator,
        l2m_losses,
        l2m_style_encoder,
        lpips,
        minilm,
        sgf,
        auxiliary_mapping,
        spectral,
        surrogate,
        mobile_stylegan,
        senet50,
        biggan,
        progressive,
        embedding,
        staged,
        losses,
        supervised,
        augment,
        degradation,
        gan,
        gan_terms,
    )
    public = set().union(*map(public_names, modules))
    assert public - EXEMPT == {name.partition("/")[0] for name in TABLE}


@functools.cache
def inputs(name: str) -> tuple[Any, Any]:
    return TABLE[name].shared(), TABLE[name].samples()


@functools.cache
def jitted(name: str) -> Any:
    return jax.jit(TABLE[name].function, compiler_options=QUICKLY)


@functools.cache
def batched(name: str) -> Any:
    return jax.jit(jax.vmap(TABLE[name].function, in_axes=(None, 0)), compiler_options=QUICKLY)


@functools.cache
def batch_result(name: str) -> Any:
    return batched(name)(*inputs(name))


@functools.cache
def eager_result(name: str) -> Any:
    """Of the first sample, one operation after the other."""
    shared, samples = inputs(name)
    return jax.block_until_ready(TABLE[name].function(shared, pick(samples, 0)))


def pick(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def check(found: Any, expected: Any, budget: float = BUDGET) -> None:
    """Equal structure, shapes and dtypes; values within the budget, 8-bit values to one level (rounding of a tie)."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        slack = 1 if want.dtype == jnp.uint8 else budget * np.abs(np.asarray(want)).max()
        assert np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64)).max() <= slack


@SLOW
@every_row
def test_jit_equals_eager(name: str):
    """Protects: no dependence on concrete values, in or out of `jit`."""
    shared, samples = inputs(name)
    if not TABLE[name].large:
        check(jitted(name)(shared, pick(samples, 0)), eager_result(name))


@every_row
def test_vmap_equals_a_loop(name: str):
    """Protects: single-sample functions are batched by `vmap`."""
    shared, samples = inputs(name)
    for index in range(0, SAMPLES, 3):
        check(pick(batch_result(name), index), jitted(name)(shared, pick(samples, index)))


COMPILATIONS: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration_secs, **kwargs: (
        COMPILATIONS.append(event) if event.endswith("backend_compile_duration") else None
    )
)


@SLOW
@every_row
def test_second_call_does_not_compile(name: str):
    """Protects: no fresh closure behind a hidden `jit`, no shape or constant that depends on the values."""
    shared, samples = inputs(name)
    first, second = pick(samples, 0), pick(samples, 1)
    eager = () if TABLE[name].loops or TABLE[name].large else (TABLE[name].function,)
    for function in (jitted(name), *eager):
        jax.block_until_ready(function(shared, first))  # just before: JAX forgets programs after thousands of others
        before = len(COMPILATIONS)
        jax.block_until_ready(function(shared, second))
        assert len(COMPILATIONS) == before


def test_compilations_are_counted():
    """Protects: the test above from a renamed event."""
    before = len(COMPILATIONS)
    jax.jit(lambda x: x + 12345)(jnp.zeros(3))
    assert len(COMPILATIONS) > before


@every_row
def test_lowers_for_gpus_and_tpus(name: str):
    """Protects: every function on hardware that the tests don't have; and what is small but decides much is not rounded
    there: mapping, affine layers, demodulation and the factors of avatars."""
    shared, samples = inputs(name)
    exported = jax.export.export(jitted(name), platforms=("cuda", "tpu"))(shared, pick(samples, 0))
    conditions = "stylegan2.(map_latent|styles)|biggan.condition|nn.(Dense|modulated)"
    if re.match(f"{conditions}|style_intervention.init|avatars", name):
        products = re.findall(r"stablehlo\.dot_general.*", exported.mlir_module())
        assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)
        assert products or not name.startswith(("stylegan2", "biggan", "nn"))


def is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


@every_row
def test_dtype_is_kept(name: str):
    """Protects: float32 in, float32 out, and bfloat16 likewise where it is taken; known without computing anything."""
    row, (shared, samples) = TABLE[name], inputs(name)
    for dtype in row.dtypes:
        sample = jax.tree.map(lambda leaf, d=dtype: leaf.astype(d) if is_float(leaf) else leaf, pick(samples, 0))
        result = jax.tree.leaves(jax.eval_shape(row.function, shared, sample))
        expected = {jnp.dtype(dtype)} if row.keeps_dtype else {jnp.dtype(jnp.uint8)}
        assert {leaf.dtype for leaf in result} == expected


@every_row
def test_samples_do_not_see_their_neighbours(name: str):
    """Protects: the headline promise. Other samples change, one of them to NaN; a sample keeps its result."""
    shared, samples = inputs(name)
    kept = 3

    def disturb(leaf: jax.Array) -> jax.Array:
        if not is_float(leaf):
            return jnp.roll(leaf, 1, axis=0).at[kept].set(leaf[kept])
        return (-7 * leaf).at[kept + 1].set(jnp.nan).at[kept].set(leaf[kept])

    disturbed = batched(name)(shared, jax.tree.map(disturb, samples))
    check(pick(disturbed, kept), pick(batch_result(name), kept))
    check(pick(disturbed, kept), jitted(name)(shared, pick(samples, kept)))


def devices_sharding() -> NamedSharding:
    mesh = Mesh(np.array(jax.devices()), ("batch",), axis_types=(AxisType.Auto,))
    assert mesh.size == SAMPLES
    return NamedSharding(mesh, PartitionSpec("batch"))


@SLOW
@every_row
def test_eight_devices(name: str):
    """Protects: a batch divided among devices gives the same numbers, stays divided, and needs no communication."""
    split = devices_sharding()
    shared, samples = inputs(name)
    shared = jax.device_put(shared, NamedSharding(split.mesh, PartitionSpec()))
    samples = jax.device_put(samples, split)
    program = batched(name).lower(shared, samples).compile()
    result = program(shared, samples)
    check(result, batch_result(name))
    if TABLE[name].stays_divided:
        assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", program.as_text())
        assert all(leaf.addressable_shards[0].data.shape[0] == 1 for leaf in jax.tree.leaves(result))


def test_discriminator_samples_see_their_group_and_say_so():
    """Protects: the documented exception of minibatch statistics, nothing beyond the group; also on eight devices."""
    score = jax.jit(functools.partial(discriminate, config=CRITIC))
    x = normal(SAMPLES, 16, 16, 3)
    before, after = score(params(CRITIC), x), score(params(CRITIC), x.at[0].multiply(3))
    changed = np.flatnonzero(np.abs(after - before) > BUDGET * np.abs(before).max())
    assert changed.tolist() == [0, 2, 4, 6], "groups of 4 of 8 samples are those with equal number modulo 2"
    for function in (discriminate, stylegan2_discriminator.minibatch_stddev):
        assert "minibatch standard deviation" in (function.__doc__ or "") or "whole batch" in (function.__doc__ or "")
    split = devices_sharding()
    replicated = jax.device_put(params(CRITIC), NamedSharding(split.mesh, PartitionSpec()))
    check(score(replicated, jax.device_put(x, split)), before)
