"""jaxedit.regions: masks of facial landmarks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw
from slowly import first_quick

from jaxedit import avatars, regions

MIRRORED = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)),
    ]
)
"""Which landmark each is in the mirrored face."""
REGIONS = (*regions.LANDMARK_OUTLINES, "eyes", "brows", "lips")


@functools.cache
def face() -> np.ndarray:
    """The landmarks of an average avatar, turned a little."""
    factors = avatars.factors_from_normal(jnp.zeros(len(avatars.LATENTS)))
    return np.asarray(avatars.render(factors._replace(roll=jnp.float32(0.5)), size=8).keypoints)


draw = jax.jit(regions.landmark_mask, static_argnames=("region", "height", "width"))


def drawn(landmarks: np.ndarray, region: str, height: int = 96, width: int = 96) -> np.ndarray:
    return np.asarray(draw(landmarks, region=region, height=height, width=width))


def mouth_of(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Landmarks whose mouth is a polygon of 12 corners, in pixels from the image's upper left corner."""
    landmarks = face().copy()
    landmarks[48:60] = polygon / np.array([width, height]) * 2.0 - 1.0
    return landmarks


def edge_distance(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """How far the middle of each pixel is from the nearest edge of a polygon, in pixels."""
    middles = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    found = np.full((height, width), np.inf)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        along = np.clip((middles - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
        found = np.minimum(found, np.linalg.norm(middles - start - along[..., None] * (end - start), axis=-1))
    return found


@pytest.mark.parametrize("kind", ["star", "crossing"])
@pytest.mark.parametrize("seed", first_quick(range(4)))
def test_polygons_are_those_of_pillow(seed: int, kind: str):
    """Protects: the even-odd rule, also where edges cross and outside the image, and that x goes with the width."""
    height, width = 70, 110
    draws = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    around = np.stack([55 + 40 * np.cos(angles), 35 + 24 * np.sin(angles)], axis=1)
    star = around + draws.normal(0, 3, (12, 2))
    polygon = star if kind == "star" else draws.uniform([-10, -10], [width + 10, height + 10], (12, 2))
    polygon = np.rint(polygon) + 0.5  # Pillow's corners are middles of pixels
    found = drawn(mouth_of(polygon, height, width), "mouth", height, width)
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).polygon([(x - 0.5, y - 0.5) for x, y in polygon], fill=1)
    expected = np.asarray(picture) == 1
    inner = edge_distance(polygon, height, width) > 1.0
    assert inner.sum() > 1500 and (found == expected)[inner].all()
    if kind == "star":
        x, y = polygon.T
        area = 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))
        assert abs(found.sum() - area) < 0.01 * area < abs(expected.sum() - area), "Pillow adds half the outline"


def test_pixels_are_inside_by_their_middles():
    """Protects: -1 and 1 are the image's edges, and polygons side by side share no pixel and leave none out."""
    left, right = face().copy(), face().copy()
    corners = np.array([[-1.0, -1.0], [0.5, -1.0], [0.5, 0.5], [-1.0, 0.5]])[[0, 0, 1, 1, 2, 3]]
    left[36:42] = corners
    right[36:42] = np.array([[0.5, -1.0], [1.0, -1.0], [1.0, 0.5], [0.5, 0.5]])[[0, 0, 1, 1, 2, 3]]
    for size in (8, 20, 44):
        expected = np.zeros((size, size), bool)
        expected[: 3 * size // 4, : 3 * size // 4] = True
        assert (drawn(left, "l_eye", size, size) == expected).all()
        both = drawn(left, "l_eye", size, size).astype(int) + drawn(right, "l_eye", size, size)
        assert (both[: 3 * size // 4] == 1).all() and (both[3 * size // 4 :] == 0).all()
    # Edges through the middles of pixels.
    left[36:42], right[36:42] = left[36:42] - 1 / 8, right[36:42] - 1 / 8
    both = drawn(left, "l_eye", 8, 8).astype(int) + drawn(right, "l_eye", 8, 8)
    assert both.max() == 1 and both.sum() in (5 * 7, 6 * 7, 5 * 8, 6 * 8)


def test_a_mirrored_face_has_mirrored_regions():
    """Protects: the tables of landmarks, and which side is left."""
    mirrored = face()[MIRRORED] * np.array([[-1.0, 1.0]], np.float32)
    other = {"l_eye": "r_eye", "r_eye": "l_eye", "l_brow": "r_brow", "r_brow": "l_brow"}
    for region in REGIONS:
        mask, mirror = drawn(face(), region), drawn(mirrored, other.get(region, region))
        assert mask.any() and (mask != mirror[:, ::-1]).sum() <= 2, region
    assert np.argwhere(drawn(face(), "l_eye"))[:, 1].max() < np.argwhere(drawn(face(), "r_eye"))[:, 1].min()


def test_regions_lie_as_those_of_a_face():
    """Protects: what belongs to what, and unions."""
    whole, mouth, lips = (drawn(face(), region) for region in ("face", "mouth", "lips"))
    for region in ("eyes", "brows", "nose", "mouth"):
        assert not (drawn(face(), region) & ~whole).any(), region
    assert (lips == drawn(face(), "u_lip+l_lip")).all()
    eyes = drawn(face(), "l_eye") | drawn(face(), "r_eye")
    assert (drawn(face(), "eyes") == eyes).all() and (drawn(face(), "eyes+mouth+eyes") == eyes | mouth).all()
    assert (drawn(face(), "smile") == mouth).all() and (drawn(face(), "beard") == whole).all()


def test_lips_are_a_ring():
    """Protects: an open mouth belongs to the mouth and not to the lips."""
    landmarks = face().copy()
    landmarks[65:68, 1] += 0.03
    inner = landmarks.copy()
    inner[48:60] = landmarks[[*range(60, 68), 67, 67, 67, 67]]
    mouth, lips, opening = (
        drawn(points, region, 512, 512)
        for points, region in ((landmarks, "mouth"), (landmarks, "lips"), (inner, "mouth"))
    )
    assert 500 < opening.sum() < mouth.sum() / 2 and (lips == (mouth & ~opening)).all()


def test_brows_and_forehead_have_the_documented_sizes():
    """Protects: 0.12 of the distance between the eyes, and 0.3 of the distance from the chin to the brows."""
    landmarks = face().copy()
    landmarks[36:42], landmarks[42:48] = [-0.4, 0.0], [0.4, 0.0]
    landmarks[17:22] = np.stack([np.linspace(-0.6, -0.2, 5), np.full(5, -0.3)], axis=1)
    landmarks[22:27] = np.stack([np.linspace(0.2, 0.6, 5), np.full(5, -0.3)], axis=1)
    landmarks[0:17] = np.stack([np.linspace(-0.8, 0.8, 17), 0.7 - 0.7 * np.linspace(-1, 1, 17) ** 2], axis=1)
    brow = drawn(landmarks, "l_brow", 400, 400)
    assert brow[:, 120].sum() == pytest.approx(0.12 * 160, abs=1) and brow[:, 172:].sum() == 0
    wide = drawn(landmarks * np.array([[0.5, 1.0]], np.float32), "l_brow", 400, 800)
    assert (wide[:, 200:600] != brow).sum() <= 4, "the same picture with more room at its sides"
    rows = np.argwhere(drawn(landmarks, "face", 400, 400))[:, 0]
    assert rows.min() == pytest.approx(200 * (1 - 0.3 - 0.3 * 1.0), abs=1) and rows.max() == pytest.approx(339, abs=1)


def test_degenerate_outlines():
    """Protects: nothing is drawn of a line or a point, and the whole image where the outline surrounds it."""
    line = np.linspace([-0.5, -0.5], [0.5, 0.3], 68, dtype=np.float32)
    for region in REGIONS:
        assert not drawn(np.zeros((68, 2), np.float32), region, 95, 95).any(), region
    for region in ("eyes", "nose", "mouth"):
        assert drawn(line, region).sum() <= 2, region
    around = np.array([[-30, -30], [130, -30], [130, 130], [-30, 130]]).repeat(3, axis=0)
    assert drawn(mouth_of(around, 96, 96), "mouth").all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_landmarks_that_are_no_numbers_give_nothing(bad: float):
    """Protects: an empty mask that can be seen, where a part of the outline alone would look like a region."""
    for place in (8, 20, 40, 50):
        landmarks = face().copy()
        landmarks[place, 0] = bad
        for region in ("face", "mouth", "eyes", "brows"):
            assert not drawn(landmarks, region).any(), (place, region)


@pytest.mark.parametrize("region", ["face", "eyes+brows+nose+lips"])
def test_a_batch_is_its_samples(region: str):
    """Protects: `vmap` and `jit`."""
    shifts = np.linspace(-0.2, 0.2, 5, dtype=np.float32)[:, None, None]
    batch = jax.vmap(functools.partial(draw, region=region, height=64, width=48))
    masks = np.asarray(batch(face()[None] + shifts))
    assert masks.shape == (5, 64, 48) and masks.dtype == bool
    for mask, shift in zip(masks, shifts, strict=True):
        assert (mask != drawn(face() + shift, region, 64, 48)).sum() <= 1


def test_regions_without_landmarks_are_named():
    """Protects: the message that tells which regions landmarks know; the names are those of the parser's regions."""
    for region in ("hair", "gender", "skin", "eyes+l_ear", "beak", ""):
        with pytest.raises(ValueError, match="no landmarks outline '.*'; they do mouth, face, .*, eyes, brows, lips"):
            drawn(face(), region)
    for region in REGIONS:
        assert regions.classes_of(region)
    assert regions.classes_of("brows") == ("l_brow", "r_brow") and regions.classes_of("lips") == ("u_lip", "l_lip")


@pytest.mark.slow
def test_landmarks_and_parser_agree_about_avatars():
    """Protects: one vocabulary: what landmarks call a region is what the parsing map calls so, as far as they can."""

    def one(key):
        factors = avatars.sample_factors(key)
        factors = factors._replace(**dict.fromkeys(("eyeglasses", "bangs", "hat"), jnp.float32(0.0)))
        return avatars.render(factors, size=256)

    rendering = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 12))
    bounds = {"eyes": 0.83, "l_eye": 0.83, "brows": 0.45, "nose": 0.6, "mouth": 0.9, "u_lip": 0.88, "lips": 0.75}
    for region, bound in {**bounds, "face": 0.7}.items():
        found = np.asarray(jax.vmap(functools.partial(draw, region=region, height=256, width=256))(rendering.keypoints))
        classes = [regions.PARSING_CLASSES.index(name) for name in regions.classes_of(region)]
        parsed = np.isin(np.asarray(rendering.parsing), classes)
        overlaps = (found & parsed).sum(axis=(1, 2)) / (found | parsed).sum(axis=(1, 2))
        assert overlaps.mean() > bound, f"{region}: {overlaps.mean():.3f}"
