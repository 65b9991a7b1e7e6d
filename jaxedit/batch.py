"""Thousands of samples: fixed-size batches over all devices, computing and writing at the same time."""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, UInt8

from jaxedit import images

BATCH_SIZE = 8
_NONE: Mapping[str, Hashable] = MappingProxyType({})


class Drawn(NamedTuple):
    """An image as it is wanted on the host.

    Attributes:
        image: `[height, width, channels]` uint8.
        finite: Whether all its values were finite numbers, bool scalar; without that the image says nothing.
    """

    image: UInt8[Array | np.ndarray, "height width channels"]
    finite: Bool[Array | np.ndarray, ""]


def drawn(image: Float[Array, "height width channels"]) -> Drawn:
    """Makes an image what the host wants of it, for functions that `map_samples` takes.

    Args:
        image: `[height, width, channels]`, about [-1, 1].

    Returns:
        It in 8 bits (`images.to_uint8`), and whether it is finite.
    """
    return Drawn(images.to_uint8(image), jnp.isfinite(image).all())


def choose_batch_size(
    samples: int, batch_size: int | None = None, *, devices: Sequence[jax.Device] | None = None
) -> int:
    """The batch size for a number of samples: no larger than needed and a multiple of the number of devices.

    Args:
        samples: how many samples there are in all.
        batch_size: the size asked for; None is `BATCH_SIZE`, rounded up to a multiple of the devices.
        devices: devices to share a batch; None is all local ones.

    Raises:
        ValueError: `batch_size` is not a positive multiple of the number of devices.
    """
    count = len(devices if devices is not None else jax.local_devices())
    if batch_size is None:
        batch_size = _round_up(BATCH_SIZE, count)
    _check_batch_size(batch_size, count)
    return min(batch_size, _round_up(max(samples, 1), count))


def divided(*, devices: Sequence[jax.Device] | None = None) -> NamedSharding:
    """How a batch lies on devices: divided along its first axis.

    Args:
        devices: The devices; None is all local ones.

    Returns:
        The sharding of batches; `replicated` gives that of what all samples share.
    """
    devices = devices if devices is not None else jax.local_devices()
    mesh = Mesh(np.array(devices), ("batch",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("batch"))


def replicated(split: NamedSharding) -> NamedSharding:
    """How what all samples share lies on the devices of a batch: whole on each.

    Args:
        split: From `divided`.

    Returns:
        The sharding.
    """
    return NamedSharding(split.mesh, PartitionSpec())


def map_samples(
    function: Callable[..., Any],
    shared: Any,
    samples: Iterable[Any],
    *,
    batch_size: int,
    options: Mapping[str, Hashable] = _NONE,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[Any]:
    """Computes something of every sample, in order, as arrays on the host.

    Samples are stacked to batches of exactly `batch_size` (the last one is filled up with copies of its last sample,
    which are dropped again), so any number of samples compiles `function` once. A batch is divided among the
    devices; the next one is dispatched before the last one is fetched, and at most two are held at a time.

    Args:
        function: pure, `function(shared, sample, **options)` is a pytree of arrays, for a single sample. Images are
            best made `drawn` in it. The same function object with the same options compiles once for all calls.
        shared: what all samples share, such as a generator and directions: a pytree, copied to every device once.
        samples: one pytree of host arrays per sample, all of the same structure, shapes and dtypes; may be a generator.
        batch_size: samples computed together, a multiple of the number of devices.
        options: what the program depends on, hashable.
        devices: devices to share a batch; None is all local ones.

    Returns:
        An iterator over what the function returns, as NumPy arrays.

    Raises:
        ValueError: `batch_size` is not a positive multiple of the number of devices.
    """
    split = divided(devices=devices)
    _check_batch_size(batch_size, split.mesh.size)
    compute = functools.partial(_compute, function=function, options=tuple(sorted(options.items())), split=split)
    return _map_batches(compute, shared, iter(samples), batch_size, split)


def collected(samples: Iterable[Any]) -> Any:
    """Stacks what `map_samples` gives, where all of it is needed and fits into memory.

    Args:
        samples: Pytrees of host arrays, at least one, all of the same structure, shapes and dtypes.

    Returns:
        One such pytree, its arrays with the samples as first axis.
    """
    return jax.tree.map(lambda *leaves: np.stack(leaves), *samples)


def _map_batches(
    compute: Callable, shared: Any, samples: Iterator[Any], batch_size: int, split: NamedSharding
) -> Iterator[Any]:
    shared = jax.device_put(shared, replicated(split))
    waiting: deque[tuple[Any, int]] = deque()
    while chunk := list(itertools.islice(samples, batch_size)):
        padded = chunk + chunk[-1:] * (batch_size - len(chunk))
        batch = jax.device_put(collected(padded), split)
        waiting.append((compute(shared, batch), len(chunk)))
        if len(waiting) == 2:
            yield from _fetch(*waiting.popleft())
    while waiting:
        yield from _fetch(*waiting.popleft())


@functools.partial(jax.jit, static_argnames=("function", "options", "split"))
def _compute(
    shared: Any, batch: Any, *, function: Callable, options: tuple[tuple[str, Hashable], ...], split: NamedSharding
) -> Any:
    result = jax.vmap(functools.partial(function, **dict(options)), in_axes=(None, 0))(shared, batch)
    return jax.lax.with_sharding_constraint(result, split)


def _fetch(batch: Any, count: int) -> Iterator[Any]:
    fetched = jax.tree.map(np.asarray, batch)
    for index in range(count):
        yield jax.tree.map(lambda leaf: leaf[index], fetched)  # noqa: B023


def _check_batch_size(batch_size: int, devices: int) -> None:
    if batch_size < 1 or batch_size % devices:
        raise ValueError(f"batch size {batch_size} is not a positive multiple of the {devices} device(s)")


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


class PngWriter:
    """Writes PNG files in threads, so that encoding overlaps with computing; a context manager.

    At most twice as many images as threads are held at a time. Files appear only once they are complete. Leaving the
    `with` block waits for all files; leaving it by an exception drops those not yet begun.
    """

    def __init__(self, *, threads: int | None = None):
        """Starts no thread yet.

        Args:
            threads: how many files are encoded at a time; None is the number of processors, at most 8.
        """
        self._threads = threads or min(8, os.cpu_count() or 1)
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="png")
        self._pending: deque[Future] = deque()

    def __enter__(self) -> "PngWriter":
        return self

    def write(self, path: str | os.PathLike, image: UInt8[np.ndarray, "height width channels"]) -> None:
        """Queues one uint8 image; waits for the oldest one when too many are queued.

        Raises:
            OSError: an earlier image could not be written.
        """
        while len(self._pending) >= 2 * self._threads:
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(images.save_png, path, image))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()
