"""The primitives in other modes: every kind of mesh, shard_map, without jit, exported with a symbolic batch."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from slowly import first_quick
from untrained import untrained

from jaxedit.generators import stylegan2
from jaxedit.nn import conv2d

CONFIG = stylegan2.StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, channel_base=128, channel_max=16, mapping_layers=2)
SHARED, SPLIT = PartitionSpec(), PartitionSpec("batch")


def loss(params, w):
    image = stylegan2.synthesize(params, stylegan2.styles(params, w, config=CONFIG), config=CONFIG)
    return jnp.mean(jnp.square(image))


def batch_loss(params, ws):
    return jnp.mean(jax.vmap(loss, (None, 0))(params, ws))


def descend(params, ws):
    def step(ws, _):
        return ws - 0.1 * jax.grad(batch_loss, 1)(params, ws), None

    return jax.lax.scan(step, ws, length=2)[0]


FUNCTIONS = {"forward": batch_loss, "gradient": jax.grad(batch_loss, (0, 1)), "scan": descend}


@pytest.fixture(scope="module")
def arguments():
    params = untrained(CONFIG)
    return params, jax.random.normal(jax.random.key(1), (4, 8))


def mesh(kind: AxisType) -> Mesh:
    return Mesh(np.array(jax.devices()[:4]), ("batch",), axis_types=(kind,))


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), found, expected)


@pytest.mark.parametrize("kind", first_quick([AxisType.Auto, AxisType.Explicit]))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_sharded_batches(name, kind, arguments):
    """Protects: batches placed on an Explicit mesh (the default of jax.make_mesh) or an Auto one."""
    params, ws = arguments
    placed = (
        jax.device_put(params, NamedSharding(mesh(kind), SHARED)),
        jax.device_put(ws, NamedSharding(mesh(kind), SPLIT)),
    )
    function = jax.jit(FUNCTIONS[name])
    assert_close(jax.device_get(function(*placed)), jax.device_get(function(params, ws)))


@pytest.mark.slow
def test_gradients_inside_shard_map(arguments):
    """Protects: per-device gradients to the codes, with parameters that all devices share."""
    inside = jax.shard_map(
        lambda params, ws: jax.grad(lambda ws: jnp.sum(jax.vmap(loss, (None, 0))(params, ws)))(ws),
        mesh=mesh(AxisType.Auto),
        in_specs=(SHARED, SPLIT),
        out_specs=SPLIT,
    )
    assert_close(jax.jit(inside)(*arguments), jax.jit(jax.vmap(jax.grad(loss, 1), (None, 0)))(*arguments))


@pytest.mark.slow
def test_gradients_through_shard_map(arguments):
    """Protects: training with one gradient of the parameters summed over devices."""
    outer = jax.shard_map(
        lambda params, ws: jax.lax.pmean(batch_loss(params, ws), "batch"),
        mesh=mesh(AxisType.Auto),
        in_specs=(SHARED, SPLIT),
        out_specs=SHARED,
    )
    assert_close(jax.jit(jax.grad(outer))(*arguments), jax.jit(jax.grad(batch_loss))(*arguments))


@pytest.mark.slow
def test_without_jit(arguments):
    """Protects: debugging with jax.disable_jit."""
    params, ws = arguments
    expected = jax.jit(loss)(params, ws[0])
    with jax.disable_jit():
        assert_close(loss(params, ws[0]), expected)


def test_a_symbolic_batch():
    """Protects: tracing with an unknown batch size, as a shape-polymorphic export does, in a wide layer."""
    kernel = jnp.zeros((3, 3, 256, 256))
    function = jax.jit(jax.vmap(lambda x: conv2d(x, kernel, padding=((1, 1), (1, 1)))))
    (batch,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(function)(jax.ShapeDtypeStruct((batch, 8, 8, 256), jnp.float32))
    assert str(exported.out_avals[0].shape) == "(n, 8, 8, 256)"


def test_an_unknown_kind_of_noise_is_refused(arguments):
    """Protects: noise="random", another program's word, from passing for "none"."""
    params, ws = arguments
    styles = stylegan2.styles(params, ws[0], config=CONFIG)
    with pytest.raises(ValueError, match="noise is 'random'; it has to be 'const', 'none' or a key"):
        stylegan2.synthesize(params, styles, config=CONFIG, noise="random")
