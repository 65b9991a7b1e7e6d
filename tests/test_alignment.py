"""jaxedit.alignment: the square of FFHQ, and what is drawn of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from slowly import first_quick

from jaxedit import alignment, avatars

align = jax.jit(alignment.align, static_argnames="size")


UPRIGHT = np.full((68, 2), 7.0, np.float32)  # where nothing should look
UPRIGHT[36:42], UPRIGHT[42:48], UPRIGHT[48], UPRIGHT[54] = (-0.2, -0.1), (0.2, -0.1), (-0.15, 0.3), (0.15, 0.3)
"""Eyes 0.4 apart and 0.4 above the mouth: half of the side is 2.0 x 0.4, the middle lies 0.04 below the eyes."""


def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture without details, -1..1 from edge to edge."""
    return np.stack([np.sin(3 * x + y), np.cos(2 * y - x), 0.5 * np.sin(2 * x) * np.cos(3 * y)], axis=-1)


def pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid((2 * np.arange(width) + 1) / width - 1, (2 * np.arange(height) + 1) / height - 1)
    return x.astype(np.float32), y.astype(np.float32)


def official_quad(landmarks: np.ndarray) -> np.ndarray:
    """The square by FFHQ's formulas; landmarks and corners in pixels, from the middle of the first."""
    left, right = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    down = (landmarks[48] + landmarks[54]) / 2 - (left + right) / 2
    x = right - left - np.flipud(down) * [-1, 1]
    x *= max(np.hypot(*(right - left)) * 2.0, np.hypot(*down) * 1.8) / np.hypot(*x)
    y, centre = np.flipud(x) * [-1, 1], (left + right) / 2 + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def official(image: Image.Image, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps of FFHQ's script with Pillow: shrink, crop, pad, transform; and where it changed pixels of the image.

    The script draws 4096 pixels for 1024, here 4 times as many as wanted.
    """
    quad = official_quad(landmarks)
    side = np.hypot(*(quad[3] - quad[0]))
    if (shrink := int(np.floor(side / size * 0.5))) > 1:
        image = image.resize([round(length / shrink) for length in image.size], Image.Resampling.LANCZOS)
        quad, side = quad / shrink, side / shrink
    border = max(round(side * 0.1), 3)
    first, last = np.floor(quad.min(axis=0)).astype(int), np.ceil(quad.max(axis=0)).astype(int)
    left, top = np.maximum(first - border, 0)
    image = image.crop((left, top, *np.minimum(last + border, image.size)))
    quad = quad - [left, top]
    outside = np.stack([-np.floor(quad.min(axis=0)), np.ceil(quad.max(axis=0)) - image.size]).astype(int) + border
    changed = Image.new("L", image.size)
    if outside.max() > border - 4:
        (left, top), (right, bottom) = np.maximum(np.maximum(outside, 0), round(side * 0.3))
        padded = np.pad(np.asarray(image, np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
        height, width, _ = padded.shape
        y, x, _ = np.ogrid[:height, :width, :1]
        across = np.minimum(np.float32(x) / left, np.float32(width - 1 - x) / right)
        weight = 1 - np.minimum(across, np.minimum(np.float32(y) / top, np.float32(height - 1 - y) / bottom))
        blurred = gaussian_filter(padded, [side * 0.02, side * 0.02, 0])
        padded += (blurred - padded) * np.clip(3 * weight + 1, 0, 1)
        padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(weight, 0, 1)
        image = Image.fromarray(np.uint8(np.clip(np.rint(padded), 0, 255)))
        changed = Image.fromarray(np.uint8(255 * (3 * weight[:, :, 0] + 1 > 0)))
        quad = quad + [left, top]
    results = []
    for picture, reduction in ((image, Image.Resampling.LANCZOS), (changed, Image.Resampling.BOX)):
        data = tuple((quad + 0.5).flatten())
        drawn = picture.transform((4 * size, 4 * size), Image.Transform.QUAD, data, Image.Resampling.BILINEAR)
        results.append(np.asarray(drawn.resize((size, size), reduction), np.float32))
    return results[0], results[1] > 0


@functools.cache
def photograph() -> tuple[Image.Image, np.ndarray]:
    """A picture of 416 x 320 pixels with an avatar's face in it, and its landmarks."""
    factors = avatars.factors_from_normal(0.7 * jax.random.normal(jax.random.key(4), (len(avatars.LATENTS),)))
    rendering = jax.jit(functools.partial(avatars.render, size=192))(factors._replace(roll=jnp.float32(0.9)))
    canvas = 255 * (0.5 + 0.5 * pattern(*pixels(320, 416)))
    canvas[70:262, 110:302] = 127.5 * (1 + np.asarray(rendering.image))
    inside = 96 * (np.asarray(rendering.keypoints) + 1) + np.array([110, 70])
    return Image.fromarray(np.uint8(canvas)), (inside / np.array([208, 160]) - 1).astype(np.float32)


def in_pixels(points: np.ndarray, image: Image.Image) -> np.ndarray:
    """From -1..1 to pixels, counted from the middle of the first."""
    return 0.5 * (points.astype(np.float64) + 1) * np.array(image.size) - 0.5


def compared(image: Image.Image, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Absolute differences to the official steps in 8-bit levels, and where those change the image's own pixels."""
    x = np.asarray(image, np.float32) / 127.5 - 1
    ours = np.clip(127.5 * (np.asarray(align(x, landmarks, size=size)) + 1), 0, 255)
    theirs, changed = official(image, in_pixels(landmarks, image), size)
    return np.abs(ours - theirs), changed


@pytest.mark.parametrize("height, width", [(200, 200), (120, 300)])
def test_square_is_that_of_the_paper(height: int, width: int):
    """Protects: the formulas of Karras et al. (2018), appendix C, in images that are not square, too."""
    draws = np.random.default_rng(1)
    for lower in (0.0, 0.0, 2.0, 2.0):  # where the eyes say how large the square is, and where the mouth does
        landmarks = draws.uniform(-1, 1, (68, 2)).astype(np.float32)
        landmarks[48:, 1] += lower
        pixel = 0.5 * (landmarks.astype(np.float64) + 1) * [width, height] - 0.5
        quad = np.asarray(alignment.alignment_quad(landmarks, height=height, width=width))
        found = 0.5 * (quad + 1) * [width, height] - 0.5
        np.testing.assert_allclose(found, official_quad(pixel), atol=1e-3 * width)


def test_an_upright_face_is_cropped():
    """Protects: which corner is which, the middle, and the size: the square of an upright face has known sides."""
    quad = np.asarray(alignment.alignment_quad(UPRIGHT, height=50, width=50))
    corners = [[-0.8, -0.86], [-0.8, 0.74], [0.8, 0.74], [0.8, -0.86]]
    np.testing.assert_allclose(quad, corners, atol=1e-6)
    image = pattern(*pixels(100, 100))
    for size in (40, 80, 160):  # the square is 80 pixels wide
        found = np.asarray(align(image, UPRIGHT, size=size))
        x, y = pixels(size, size)
        np.testing.assert_allclose(found, pattern(0.8 * x, 0.8 * y - 0.06), atol=4e-3)


@pytest.mark.parametrize("degrees", [30, -90, 180])
def test_rotation_is_undone(degrees: int):
    """Protects: the direction of turning, in an image that is not square."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x, y = pixels(100, 130)
    x = 1.3 * x  # in half heights
    image = pattern(cosine * x + sine * y, cosine * y - sine * x).astype(np.float32)
    turned = UPRIGHT @ np.array([[cosine, sine], [-sine, cosine]], np.float32) / np.array([[1.3, 1.0]], np.float32)
    found = np.asarray(align(image, turned, size=64))
    inside = np.abs(np.asarray(alignment.alignment_quad(turned, height=100, width=130))).max() < 1
    x, y = pixels(64, 64)
    middle = np.hypot(x, y) < (2 if inside else 1.1)
    np.testing.assert_allclose(found[middle], pattern(0.8 * x, 0.8 * y - 0.06)[middle], atol=4e-3)


@pytest.mark.parametrize("size", first_quick([64, 48, 200]))
def test_photographs_are_cropped_as_by_the_official_steps(size: int):
    """Protects: FFHQ's resampling, enlarging and reducing, up to the rounding of Pillow's two steps."""
    difference, changed = compared(*photograph(), size)
    assert not changed.any(), "a face amply inside"
    assert difference.mean() < 0.7 and np.quantile(difference, 0.999) < 2.0, (difference.mean(), difference.max())


def test_around_the_photograph_is_its_mirror_image():
    """Protects: a face at the edge. The official steps blur there, and only there they differ."""
    image, landmarks = photograph()
    cut = image.crop((150, 60, 416, 320))
    places = in_pixels(landmarks, image) + 0.5 - [150, 60]
    moved = (places / cut.size * 2 - 1).astype(np.float32)
    difference, changed = compared(cut, moved, 128)
    assert 0.3 < changed.mean() < 0.8 and np.quantile(difference[~changed], 0.999) < 2.0
    assert 3.0 < difference[changed].mean() < 30.0
    x = np.asarray(cut, np.float32) / 127.5 - 1
    padded = np.pad(x, ((100, 100), (100, 100), (0, 0)), "reflect")
    inside = ((places + 100) / (np.array(cut.size) + 200) * 2 - 1).astype(np.float32)
    np.testing.assert_allclose(align(x, moved, size=128), align(padded, inside, size=128), atol=1e-3)


def test_larger_squares_are_as_sharp_as_they_should():
    """Protects: no aliasing in a square 5.6 times as wide as the result, which the official script shrinks first."""
    image, landmarks = photograph()
    x = np.asarray(image, np.float32) / 127.5 - 1
    found = np.asarray(align(x, landmarks, size=32))
    fine = align(x, landmarks, size=256)
    expected = np.asarray(jax.image.resize(fine, (32, 32, 3), "lanczos3"))
    assert np.abs(found - expected).mean() < 0.02 and np.abs(found - expected).max() < 0.2


@pytest.mark.slow
def test_gradients_and_batches():
    """Protects: finite derivatives in image and landmarks, to the points that matter only; and `vmap`."""
    image = jnp.asarray(pattern(*pixels(40, 50)))
    target = jnp.asarray(pattern(*pixels(16, 16)))

    def loss(image, landmarks):
        return jnp.mean(jnp.square(alignment.align(image, landmarks, size=16) - target))

    by_image, by_landmarks = jax.jit(jax.grad(loss, argnums=(0, 1)))(image, jnp.asarray(UPRIGHT))
    assert np.isfinite(by_image).all() and np.abs(by_image).max() > 0
    assert np.isfinite(by_landmarks).all()
    assert set(np.flatnonzero(np.abs(by_landmarks).max(axis=1))) == {*range(36, 49), 54}
    step = 1e-2
    moved = UPRIGHT + np.eye(68, dtype=np.float32)[48][:, None] * np.array([[step, 0]], np.float32)
    back = 2 * UPRIGHT - moved
    numeric = (loss(image, moved) - loss(image, back)) / (2 * step)
    assert float(numeric) == pytest.approx(float(by_landmarks[48, 0]), rel=0.05)

    shifts = np.linspace(-0.1, 0.1, 3, dtype=np.float32)[:, None, None]
    batch = jax.vmap(functools.partial(align, size=16), in_axes=(None, 0))(image, UPRIGHT[None] + shifts)
    for result, shift in zip(batch, shifts, strict=True):
        np.testing.assert_allclose(result, align(image, UPRIGHT + shift, size=16), atol=1e-5)


def test_landmarks_that_are_no_face_give_no_picture():
    """Protects: NaN, which whatever writes the picture sees, and no plausible crop."""
    image = pattern(*pixels(20, 20))
    bad = UPRIGHT.copy()
    bad[40, 1] = np.nan
    point = np.zeros((68, 2), np.float32)
    for landmarks in (bad, point, UPRIGHT * np.float32(np.inf)):
        assert np.isnan(np.asarray(align(image, landmarks, size=8))).all()
