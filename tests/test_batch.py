"""jaxedit.batch: any number of samples in one compilation, bounded memory, files written in threads."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import batch, images


class Counted:
    """A tiny renderer that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, shared, sample):
        self.traces += 1
        return batch.drawn(jnp.zeros((4, 4, 3)) + shared * sample["level"])


def levels(count):
    for index in range(count):
        yield {"level": np.float32(index / 100)}


def expected(count):
    return [int(images.to_uint8(jnp.float32(0.5) * jnp.float32(index / 100))) for index in range(count)]


@pytest.mark.parametrize("devices", [1, 8])
def test_any_number_of_samples_compiles_once(devices):
    function, shared = Counted(), jnp.float32(0.5)
    for count in (1, 8, 9, 21, 0):
        chosen = jax.devices()[:devices]
        mapped = batch.map_samples(function, shared, levels(count), batch_size=8, devices=chosen)
        drawn = [one.image for one in mapped]
        assert [image[0, 0, 0] for image in drawn] == expected(count)
        assert all(image.shape == (4, 4, 3) and image.dtype == np.uint8 for image in drawn)
    assert function.traces == 1


def test_images_that_are_not_finite_are_told_apart():
    """Protects: NaN and infinity from becoming black and white pictures; the neighbours in the batch are kept."""
    samples = [{"level": np.float32(level)} for level in (0.1, np.nan, 0.3, np.inf)]
    drawn = list(batch.map_samples(Counted(), jnp.float32(1), samples, batch_size=8))
    assert [bool(one.finite) for one in drawn] == [True, False, True, False]


def test_options_are_part_of_the_program_and_any_pytree_is_fetched():
    """Protects: equal options compile nothing again; what comes back is on the host, whatever its structure."""
    traces = []

    def function(shared, sample, *, power, name="x"):
        traces.append((power, name))
        return {name: shared * sample**power, "both": (sample, jnp.float32(power))}

    def mapped(**options):
        return list(
            batch.map_samples(function, jnp.float32(2), np.arange(3.0, dtype=np.float32), batch_size=8, options=options)
        )

    first, again, other = mapped(power=2, name="y"), mapped(name="y", power=2), mapped(power=3)
    assert traces == [(2, "y"), (3, "x")]
    assert [float(one["y"]) for one in first] == [0, 2, 8] == [float(one["y"]) for one in again]
    assert [float(one["x"]) for one in other] == [0, 2, 16] and isinstance(
        other[0]["both"][0], np.floating | np.ndarray
    )


def test_the_devices_share_a_batch(monkeypatch):
    seen = []
    fetch = batch._fetch

    def spy(images, count):
        seen.append({shard.device: shard.data.shape for shard in images[0].addressable_shards})
        return fetch(images, count)

    monkeypatch.setattr(batch, "_fetch", spy)
    list(batch.map_samples(Counted(), jnp.float32(1), levels(16), batch_size=16))
    assert seen == [{device: (2, 4, 4, 3) for device in jax.devices()}]


def test_the_next_batch_is_dispatched_before_the_last_is_fetched_and_no_further(monkeypatch):
    events = []
    compute, fetch = batch._compute, batch._fetch
    monkeypatch.setattr(batch, "_compute", lambda *a, **k: events.append("dispatch") or compute(*a, **k))
    monkeypatch.setattr(batch, "_fetch", lambda *a: events.append("fetch") or fetch(*a))
    taken = 0

    def samples():
        nonlocal taken
        for sample in levels(10_000_000):
            taken += 1
            yield sample

    drawn = batch.map_samples(Counted(), jnp.float32(1), samples(), batch_size=8)
    for _ in range(24):
        next(drawn)
    assert events == ["dispatch", "dispatch", "fetch", "dispatch", "fetch", "dispatch", "fetch"]
    assert taken == 32


@pytest.mark.parametrize("size", [0, -8, 3])
def test_batch_sizes_that_do_not_divide_are_refused(size):
    with pytest.raises(ValueError, match="multiple of the 8 device"):
        batch.map_samples(Counted(), jnp.float32(1), levels(1), batch_size=size)
    with pytest.raises(ValueError, match="multiple of the 8 device"):
        batch.choose_batch_size(5, size)


def test_batch_size_is_no_larger_than_needed():
    one = jax.devices()[:1]
    assert [batch.choose_batch_size(count, devices=one) for count in (0, 1, 5, 500)] == [1, 1, 5, 8]
    assert [batch.choose_batch_size(count, 16) for count in (1, 9, 500)] == [8, 16, 16]


def test_writer_writes_all_in_threads_and_holds_few(tmp_path, monkeypatch):
    active, most, lock = 0, 0, threading.Lock()
    save = images.save_png

    def slow(path, image):
        nonlocal active, most
        with lock:
            active, most = active + 1, max(most, active + 1)
        time.sleep(0.01)
        save(path, image)
        with lock:
            active -= 1

    monkeypatch.setattr(images, "save_png", slow)
    with batch.PngWriter(threads=3) as writer:
        for index in range(20):
            writer.write(tmp_path / f"{index}.png", np.full((2, 2, 3), index, np.uint8))
            assert len(writer._pending) <= 6
    assert most == 3
    assert all(images.read_png(tmp_path / f"{index}.png")[0, 0, 0] == index for index in range(20))


def test_writer_reports_failures(tmp_path):
    with pytest.raises(FileNotFoundError):
        with batch.PngWriter(threads=1) as writer:
            writer.write(tmp_path / "missing" / "a.png", np.zeros((2, 2, 3), np.uint8))


def test_writer_leaves_only_complete_files_after_a_failure(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        with batch.PngWriter(threads=2) as writer:
            for index in range(4):
                writer.write(tmp_path / f"{index}.png", np.zeros((64, 64, 3), np.uint8))
            raise RuntimeError("stop")
    for path in tmp_path.iterdir():
        assert path.suffix == ".png" and images.read_png(path).shape == (64, 64, 3)
