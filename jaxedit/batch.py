"""Thousands of samples: fixed-size batches over all devices, computing and writing at the same time."""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import UInt8

from jaxedit import images

BATCH_SIZE = 8


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


def map_samples(
    function: Callable[[Any, Any], jax.Array],
    shared: Any,
    samples: Iterable[Any],
    *,
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[UInt8[np.ndarray, "height width channels"] | None]:
    """Computes one image per sample, in order, as 8-bit arrays on the host.

    Samples are stacked to batches of exactly `batch_size` (the last one is filled up with copies of its last sample,
    which are dropped again), so any number of samples compiles `function` once. A batch is divided among the
    devices; the next one is dispatched before the last one is fetched, and at most two are held at a time.

    Args:
        function: pure, `function(shared, sample) -> image [height, width, channels]` (float, about [-1, 1]) for a
            single sample. The same function object compiles once for all calls.
        shared: what all samples share, such as a generator and directions: a pytree, copied to every device once.
        samples: one pytree of host arrays per sample, all of the same structure, shapes and dtypes; may be a generator.
        batch_size: samples computed together, a multiple of the number of devices.
        devices: devices to share a batch; None is all local ones.

    Returns:
        An iterator over uint8 images (`images.to_uint8`, computed on the device); None in place of an image that has
        values which are not finite.

    Raises:
        ValueError: `batch_size` is not a positive multiple of the number of devices.
    """
    devices = list(devices if devices is not None else jax.local_devices())
    _check_batch_size(batch_size, len(devices))
    mesh = Mesh(np.array(devices), ("batch",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    return _map_batches(function, shared, iter(samples), batch_size, split)


def _map_batches(
    function: Callable, shared: Any, samples: Iterator[Any], batch_size: int, split: NamedSharding
) -> Iterator[np.ndarray | None]:
    shared = jax.device_put(shared, NamedSharding(split.mesh, PartitionSpec()))
    waiting: deque[tuple[tuple[jax.Array, jax.Array], int]] = deque()
    while chunk := list(itertools.islice(samples, batch_size)):
        padded = chunk + chunk[-1:] * (batch_size - len(chunk))
        batch = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *padded), split)
        waiting.append((_compute(shared, batch, function=function, split=split), len(chunk)))
        if len(waiting) == 2:
            yield from _fetch(*waiting.popleft())
    while waiting:
        yield from _fetch(*waiting.popleft())


@functools.partial(jax.jit, static_argnames=("function", "split"))
def _compute(shared: Any, batch: Any, *, function: Callable, split: NamedSharding) -> tuple[jax.Array, jax.Array]:
    """The 8-bit images of a batch, and which of them are finite."""
    result = jax.vmap(function, in_axes=(None, 0))(shared, batch)
    finite = jnp.isfinite(result).all(axis=(1, 2, 3))
    return jax.lax.with_sharding_constraint((images.to_uint8(result), finite), split)


def _fetch(batch: tuple[jax.Array, jax.Array], count: int) -> Iterator[np.ndarray | None]:
    pictures, finite = map(np.asarray, batch)
    for image, good in zip(pictures[:count], finite[:count], strict=True):
        yield image if good else None


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
