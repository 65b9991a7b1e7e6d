"""jaxedit.compaction: every sample gets its own number of steps, and finished ones are not computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import batch
from jaxedit.compaction import loop_compacted


@pytest.mark.parametrize("smallest", [1, 4])
@pytest.mark.parametrize("count", [1, 5, 8, 13])
def test_every_sample_gets_its_own_steps(count: int, smallest: int):
    """Protects: results, order, and the sizes that are computed: powers of two that just hold those still active."""
    wanted = np.random.default_rng(count).integers(0, 12, count)
    sizes: list[int] = []

    def step(kept, moving):
        sizes.append(len(kept))
        going = moving["left"] > 0
        return {"left": jnp.where(going, moving["left"] - 1, 0), "sum": moving["sum"] + jnp.where(going, kept, 0)}

    kept = jnp.arange(count, dtype=jnp.float32) + 1
    moving = {"left": jnp.asarray(wanted), "sum": jnp.zeros(count)}
    found = loop_compacted(step, lambda moving: moving["left"] > 0, kept, moving, smallest=smallest)
    np.testing.assert_array_equal(found["sum"], wanted * (np.arange(count) + 1))
    expected = []
    for index in range(wanted.max(initial=0)):
        active = int((wanted > index).sum())
        size = max(smallest, 2 ** int(np.ceil(np.log2(active))))
        expected.append(min(size, expected[-1] if expected else count))
    assert sizes == expected


def test_other_samples_compile_nothing():
    """Protects: what is compiled depends on the sizes of the batch, not on which samples end when."""
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    step = jax.jit(lambda kept, moving: jnp.maximum(moving - kept, 0))
    counts = []
    for seed in range(4):
        left = jnp.asarray(np.random.default_rng(seed).integers(0, 12, 16), jnp.int32)
        found = loop_compacted(step, lambda moving: moving > 0, jnp.ones(16, jnp.int32), left, smallest=8)
        assert (np.asarray(found) == 0).all()
        counts.append(len(compiled))
    assert counts[0] > 0 and counts[0] == counts[-1]


def test_a_divided_batch_stays_divided():
    """Protects: all devices working, each on its part, also when the batch has shrunk."""
    shares: list[int] = []

    def step(kept: jax.Array, moving: jax.Array) -> jax.Array:
        assert kept.sharding == moving.sharding
        shares.append(moving.addressable_shards[0].data.shape[0])
        return jnp.maximum(moving - kept, 0)

    kept, left = jax.device_put((np.ones(32, np.int32), np.arange(32, dtype=np.int32)), batch.divided())
    found = loop_compacted(step, lambda moving: moving > 0, kept, left, smallest=8)
    assert (np.asarray(found) == 0).all() and shares == [4] * 15 + [2] * 8 + [1] * 8


def test_nothing_active_is_returned_as_it_is():
    """Protects: no step for nobody."""

    def never(kept: jax.Array, moving: jax.Array) -> jax.Array:
        raise AssertionError

    moving = jnp.arange(3)
    assert loop_compacted(never, lambda moving: moving < 0, moving, moving).tolist() == [0, 1, 2]
