"""Adaptive augmentation: sampling against a float64 reference, exact moves, probabilities, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.training.augment import augment, update_probability, warp

SIZE = 8


def picture(size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (size, size, 3)).astype(np.float32)


def source(linear: list[list[float]], offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    return np.concatenate([np.array(linear), np.array(offset)[:, None]], 1).astype(np.float32)


MOVES = {
    "nothing": (source([[1, 0], [0, 1]]), lambda image: image),
    "mirrored": (source([[-1, 0], [0, 1]]), lambda image: image[:, ::-1]),
    "upside down": (source([[1, 0], [0, -1]]), lambda image: image[::-1]),
    "quarter turn": (source([[0, -1], [1, 0]]), lambda image: np.rot90(image, 1)),
    "half turn": (source([[-1, 0], [0, -1]]), lambda image: np.rot90(image, 2)),
    "moved": (
        source([[1, 0], [0, 1]], (3, -2)),
        lambda image: np.pad(image, ((2, 0), (0, 3), (0, 0)), mode="reflect")[:SIZE, 3:],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_by_whole_pixels_are_exact(name):
    """Protects: mirroring, quarter turns and whole translations copy pixels, without any blur."""
    matrix, expected = MOVES[name]
    np.testing.assert_array_equal(warp(jnp.asarray(picture()), jnp.asarray(matrix)), expected(picture()))


def keys_kernel(distance: np.ndarray) -> np.ndarray:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981, equation 15."""
    d = np.abs(distance)
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def test_sampling_between_pixels():
    """Protects: the kernel, the axes, and reflection as far out as an image is wide several times over."""
    linear, offset, reach = np.array([[1.3, 0.4], [-0.6, 0.9]]), np.array([5.3, -11.7]), 4 * SIZE
    image = picture().astype(np.float64)
    canvas = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    centre, expected = (SIZE - 1) / 2, np.zeros_like(image)
    places = np.arange(len(canvas)) - reach
    for row in range(SIZE):
        for column in range(SIZE):
            x, y = linear @ (column - centre, row - centre) + offset + centre
            expected[row, column] = np.einsum("h,w,hwc->c", keys_kernel(places - y), keys_kernel(places - x), canvas)
    found = warp(jnp.asarray(picture()), jnp.asarray(source(linear.tolist(), tuple(offset))))
    np.testing.assert_allclose(found, expected, atol=2e-5)


@functools.cache
def augmented(p: float, count: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(augment, (0, None, None)))(keys, jnp.asarray(picture()), jnp.float32(p)))


def test_no_augmentation_is_the_identity():
    """Protects: a training in which nothing overfits sees its images as they are."""
    np.testing.assert_array_equal(augmented(0.0, 4096), np.broadcast_to(picture(), (4096, SIZE, SIZE, 3)))


def test_how_often_images_are_left_alone():
    """Protects: every one of the transforms is applied with probability p, the two rotations together too."""
    p = 0.1
    unchanged = np.mean((augmented(p, 4096) == picture()).all((1, 2, 3)))
    whole = 1 - p * (1 - 0.5 * 0.5)  # up to one pixel at this size, rounded to 0 half of the time on either axis
    expected = (1 - p / 2) ** 2 * (1 - p * 3 / 4) * whole * (1 - p) ** 8
    assert abs(unchanged - expected) < 4 * np.sqrt(expected * (1 - expected) / 4096)


def test_full_augmentation_changes_every_image():
    """Protects: finite results of the same shape, no two alike, at the other end."""
    images = augmented(1.0, 4096)
    assert images.shape == (4096, SIZE, SIZE, 3) and np.isfinite(images).all()
    assert len(np.unique(images[:, 0, 0, 0])) > 4000


@pytest.mark.slow
def test_colours_of_grey():
    """Protects: hue and saturation leave grey alone, and brightness and contrast keep it grey."""
    grey = jnp.full((SIZE, SIZE, 3), 0.25)
    images = np.asarray(jax.vmap(lambda key: augment(key, grey, 1.0))(jax.random.split(jax.random.key(1), 64)))
    np.testing.assert_allclose(images, np.broadcast_to(images[:, :1, :1, :1], images.shape), atol=1e-4)
    assert images[:, 0, 0, 0].min() < -0.1 and images[:, 0, 0, 0].max() > 0.6


@pytest.mark.slow
def test_gradient():
    """Protects: what the generator learns through augmented fakes; the map is linear but for brightness."""
    image, other = jnp.asarray(picture()), jnp.asarray(picture()[::-1, :, ::-1])
    one = functools.partial(augment, jax.random.key(3), p=jnp.float32(0.9))
    slope = jax.grad(lambda image: jnp.sum(one(image) * other))(image)
    step = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, image.shape), jnp.float32)
    expected = jnp.sum((one(image + step) - one(image)) * other)
    np.testing.assert_allclose(jnp.sum(slope * step), expected, rtol=1e-4, atol=1e-3)
    assert np.count_nonzero(slope) > SIZE * SIZE


def test_the_probability_follows_overfitting():
    """Protects: the direction and the speed of adaptation, and its limits."""
    update = functools.partial(update_probability, target=0.6, images=64.0, speed=640.0)
    found = [float(update(jnp.float32(p), jnp.float32(r))) for p, r in ((0.5, 0.7), (0.5, 0.5), (0.05, 0.1), (0.95, 1))]
    np.testing.assert_allclose(found, [0.6, 0.4, 0.0, 1.0], rtol=1e-6)
