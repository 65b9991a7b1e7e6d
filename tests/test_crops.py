"""Crops of images: exact where pixels fall on pixels, and against Pillow and NumPy elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxedit.networks import face_crops
from jaxedit.networks.face_crops import landmark_box, place_points
from jaxedit.nn import crops

sample_quad = jax.jit(crops.sample_quad, static_argnames=("size", "padding", "pool"))
box_crop = jax.jit(face_crops.box_crop, static_argnames=("size", "pool"))
chip_of = jax.jit(face_crops.chip_of, static_argnames=("size", "padding", "pool"))
WHOLE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]], np.float32)
EXACT = 3e-6


def image(seed: int, height: int, width: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (height, width, 3)), jnp.float32)


def places(height: int, width: int) -> jax.Array:
    """An image whose first two channels say where each pixel is, in pixels over 100."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return jnp.asarray(np.stack([x, y, 0 * x], axis=-1) / 100, jnp.float32)


def normalised(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return (2 * pixels / np.array([width, height]) - 1).astype(np.float32)


@pytest.mark.parametrize("padding", ["black", "mirror"])
def test_the_whole_image_is_itself(padding):
    """Protects: where pixels are counted from; half a pixel would blur."""
    x = image(0, 12, 12)
    np.testing.assert_allclose(sample_quad(x, WHOLE, size=12, padding=padding), x, atol=EXACT)


@pytest.mark.parametrize("padding", ["black", "mirror"])
@pytest.mark.parametrize("shift", [(3, -2), (-5, 4), (0, 25)])
def test_whole_steps_move_pixels(padding, shift):
    """Protects: what lies around the image, also further away than its size."""
    x = image(1, 10, 14)
    right, down = shift
    square = normalised(np.array([[0, 0], [0, 10], [10, 10], [10, 0]]) + np.array(shift), 10, 14)
    more = 30
    around = ((more, more), (more, more), (0, 0))
    padded = np.pad(x, around, constant_values=-1) if padding == "black" else np.pad(x, around, mode="reflect")
    expected = padded[more + down : more + down + 10, more + right : more + right + 10]
    np.testing.assert_allclose(sample_quad(x, square, size=10, padding=padding), expected, atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    """Protects: the order of the corners."""
    x = image(2, 9, 9)
    turned = sample_quad(x, np.roll(WHOLE, turns, axis=0), size=9, padding="black")
    np.testing.assert_allclose(turned, np.rot90(x, turns), atol=EXACT)


def test_a_quad_equals_pillow():
    """Protects: bilinear placing between four corners of no parallelogram, as FFHQ's alignment has it."""
    x = image(3, 20, 30)
    corners = np.array([[5.0, 4.0], [3.5, 15.0], [24.0, 16.5], [21.0, 6.0]])
    expected = [
        Image.fromarray(np.asarray(x[..., channel])).transform(
            (16, 16), Image.Transform.QUAD, tuple(corners.ravel()), Image.Resampling.BILINEAR
        )
        for channel in range(3)
    ]
    found = sample_quad(x, normalised(corners, 20, 30), size=16, padding="black")
    np.testing.assert_allclose(found, np.stack([np.asarray(band) for band in expected], axis=-1), atol=1e-5)


def test_pooling_averages_first():
    """Protects: large images do not alias in small crops, and stay where they are."""
    x = image(4, 24, 12)
    means = x.reshape(8, 3, 4, 3, 3).mean(axis=(1, 3))
    corners = np.array([[-0.5, -0.4], [-0.6, 0.5], [0.5, 0.7], [0.4, -0.6]], np.float32)
    found = sample_quad(x, corners, size=7, padding="mirror", pool=3)
    np.testing.assert_allclose(found, sample_quad(means, corners, size=7, padding="mirror"), atol=EXACT)


def test_corners_have_derivatives():
    """Protects: crops that follow landmarks are differentiable; on a ramp the derivative is its slope."""

    def first(right):
        corners = 0.5 * jnp.asarray(WHOLE) + jnp.stack([right, jnp.zeros(())])[None]
        return sample_quad(places(16, 16), corners, size=6, padding="mirror")[0, 0, 0]

    np.testing.assert_allclose(jax.grad(first)(jnp.asarray(0.03)), 8 / 100, rtol=1e-4)  # half the width, over 100


def test_pixels_have_derivatives():
    """Protects: each sample's derivative is its weight, so that the sum over pixels inside the image is 1."""
    corners = 0.7 * WHOLE @ np.array([[0.9, 0.3], [-0.3, 0.9]], np.float32)
    gradient = jax.grad(lambda x: sample_quad(x, corners, size=5, padding="black").sum())(image(5, 16, 16))
    np.testing.assert_allclose(gradient.sum(), 5 * 5 * 3, rtol=1e-5)


def test_vmap_equals_a_loop():
    """Protects: batches of images and of boxes."""
    images, boxes = jnp.stack([image(k, 16, 20) for k in range(3)]), np.array([[-0.9, -0.5, 0.4, 0.7]] * 3, np.float32)
    boxes = boxes + np.linspace(-0.3, 0.3, 12, dtype=np.float32).reshape(3, 4)

    def crop(x, box):
        return box_crop(x, box, size=8)

    together = jax.vmap(crop)(images, boxes)
    for index in range(3):
        np.testing.assert_allclose(together[index], crop(images[index], boxes[index]), atol=EXACT)


def test_what_does_not_fit_is_refused(unchecked):
    """Protects: errors instead of wrong crops."""
    with pytest.raises(ValueError, match="pool=5"):
        sample_quad(image(0, 12, 12), WHOLE, size=4, padding="black", pool=5)
    with pytest.raises(ValueError, match="'black' or 'mirror'"):
        sample_quad(image(0, 12, 12), WHOLE, size=4, padding="edge")  # pyright: ignore[reportArgumentType]


def test_boxes_become_squares_with_bars():
    """Protects: face-api's crop: black on both sides of a tall box, though the image goes on there."""
    x = image(6, 20, 24)
    box = normalised(np.array([[4, 2], [12, 14]]), 20, 24).reshape(4)  # 8 wide, 12 high
    expected = np.pad(x[2:14, 4:12], ((0, 0), (2, 2), (0, 0)), constant_values=-1)
    np.testing.assert_allclose(box_crop(x, box, size=12), expected, atol=1e-5)


def test_boxes_are_cut_at_the_border():
    """Protects: face-api's crop: what a box has outside of the image is left out before it becomes a square."""
    x = image(7, 20, 24)
    box = normalised(np.array([[18, -7], [33, 6]]), 20, 24).reshape(4)  # 6 x 6 of it lie inside
    np.testing.assert_allclose(box_crop(x, box, size=6), x[:6, 18:], atol=1e-5)


def test_boxes_outside_are_finite():
    """Protects: optimisation that loses the face sees no NaN."""
    box = jnp.array([1.5, 1.5, 1.7, 1.9])
    value, gradient = jax.value_and_grad(lambda b: box_crop(image(0, 8, 8), b, size=4).sum())(box)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_points_go_back_to_the_image():
    """Protects: places in a crop and the pixels that are seen there are the same ones."""
    box = normalised(np.array([[10, 4], [30, 44]]), 50, 60).reshape(4)
    crop = box_crop(places(50, 60), box, size=20)
    points = normalised(np.array([[9.5, 3.5], [12.5, 18.5]]), 20, 20)  # middles of pixels that are no bars
    found = place_points(jnp.asarray(points), box, height=50, width=60)
    seen = 100 * np.stack([crop[3, 9, :2], crop[18, 12, :2]])
    np.testing.assert_allclose(found, normalised(seen, 50, 60), atol=1e-4)


def test_the_box_of_landmarks():
    """Protects: the padding is shared by both sides."""
    points = np.array([[-0.5, 0.1], [0.3, 0.5], [0.0, -0.3]], np.float32)
    np.testing.assert_allclose(landmark_box(points), [-0.58, -0.38, 0.38, 0.58], atol=1e-6)


def landmarks_at(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """68 landmarks of which those that align are at places given in pixels."""
    landmarks = np.full((68, 2), 7.0, np.float32)
    landmarks[list(face_crops._ALIGNED)] = normalised(points, height, width)
    return landmarks


@pytest.mark.parametrize("turned", [False, True])
def test_a_face_like_the_template_is_cut_out(turned):
    """Protects: place, size, and direction of the chip: dlib's template with a quarter of its side around it."""
    x = image(8, 40, 50)
    inside = (np.array(face_crops._TEMPLATE) + 0.25) / 1.5
    if turned:  # a face that lies on its left side: what is right of it is above it
        inside = np.stack([inside[:, 1], 1 - inside[:, 0]], axis=-1)
    chip = chip_of(x, landmarks_at(np.array([8, 6]) + 30 * inside, 40, 50), size=30)
    expected = x[6:36, 8:38]
    np.testing.assert_allclose(chip, np.rot90(expected, -1) if turned else expected, atol=1e-4)


def test_chips_fit_best():
    """Protects: the closed form is the least-squares similarity, as dlib finds it."""
    found = np.random.default_rng(9).uniform(10, 90, (5, 2))
    template = np.array(face_crops._TEMPLATE)
    rows = [([x, -y, 1, 0], [y, x, 0, 1]) for x, y in template]
    a, b, *moved = np.linalg.lstsq(np.concatenate(rows), found.ravel(), rcond=None)[0]
    chip = chip_of(places(100, 100), landmarks_at(found, 100, 100), size=50)
    where = (np.array([[20.5, 30.5], [25.5, 25.5], [30.5, 18.5]]) / 50) * 1.5 - 0.25
    expected = where @ np.array([[a, b], [-b, a]]) + np.array(moved)
    assert (expected > 1).all() and (expected < 99).all()
    np.testing.assert_allclose(100 * np.stack([chip[30, 20], chip[25, 25], chip[18, 30]])[:, :2], expected, atol=1e-2)
