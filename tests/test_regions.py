"""jaxedit.regions: classes, the table of attributes, masks and dilation."""

import jax
import numpy as np
import pytest

from jaxedit import avatars, regions


def test_table_of_the_paper():
    """Protects: Table I of Style Intervention, by the numbers of BiSeNet's classes."""

    def numbers(region: str) -> list[int]:
        return [regions.PARSING_CLASSES.index(name) for name in regions.classes_of(region)]

    face = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert numbers("hair") == [17] and numbers("mouth") == [11, 12, 13] and numbers("eyes") == [4, 5]
    assert numbers("face") == numbers("beard") == numbers("bangs") == numbers("narrow_eyes") == face
    assert numbers("gender") == numbers("age") == numbers("hair+face") == [*face, 17]
    assert numbers("smile") == numbers("mouth_open") == [11, 12, 13] and numbers("eyeglasses") == [4, 5]
    assert numbers("hat") == [18] and numbers("nose+hat") == [10, 18]
    assert set(regions.ATTRIBUTE_COMPONENTS) == set(avatars.ATTRIBUTES)
    assert set(sum(regions.STYLESPACE_REGIONS, ())) < set(regions.PARSING_CLASSES)


def test_an_unknown_region_is_named():
    """Protects: the message that tells what there is."""
    with pytest.raises(ValueError, match="no region 'beak'; there are hair, mouth, eyes, face, .* background"):
        regions.classes_of("hair+beak")
    with pytest.raises(ValueError):
        regions.mask_of(np.zeros((2, 2), np.int32), ("beak",))


def test_mask_has_the_pixels_of_its_classes():
    """Protects: masks by class, nothing else."""
    parsing = np.arange(20).reshape(4, 5) % 19
    mask = np.asarray(regions.mask_of(parsing, regions.classes_of("mouth")))
    assert mask.dtype == bool and (mask == np.isin(parsing, [11, 12, 13])).all()
    assert not regions.mask_of(parsing, ()).any()


def ellipse(size: int) -> np.ndarray:
    """OpenCV's getStructuringElement(MORPH_ELLIPSE), as its documentation's formula has it."""
    kernel, radius = np.zeros((size, size), bool), size // 2
    for row in range(size):
        half = round(radius * np.sqrt(1 - ((row - radius) / radius) ** 2)) if radius else 0
        kernel[row, max(radius - half, 0) : radius + half + 1] = True
    return kernel


def dilated(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every pixel is True whose neighbourhood, the kernel about its anchor `size // 2`, holds a True one."""
    size = len(kernel)
    padded = np.pad(mask, size)
    result = np.zeros_like(mask)
    for y, x in np.ndindex(mask.shape):
        top, left = y + size - size // 2, x + size - size // 2
        result[y, x] = (padded[top : top + size, left : left + size] & kernel).any()
    return result


# Kernels that OpenCV 4.14 gave, by the number of pixels set in each row.
OPENCV = {
    2: [1, 2],
    3: [1, 3, 1],
    4: [1, 4, 4, 4],
    5: [1, 5, 5, 5, 1],
    12: [1, 7, 9, 11, 12, 12, 12, 12, 12, 11, 9, 7],
    13: [1, 7, 9, 11, 13, 13, 13, 13, 13, 11, 9, 7, 1],
}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 12, 13, 50])
def test_dilation_equals_the_neighbourhood_rule(size: int):
    """Protects: the lopsided even kernels, the anchor, and borders."""
    mask = np.random.default_rng(size).random((41, 37)) < 0.01
    mask[0, 0] = mask[-1, -1] = True
    kernel = ellipse(size)
    assert size not in OPENCV or kernel.sum(axis=1).tolist() == OPENCV[size]
    found = np.asarray(jax.jit(regions.dilate, static_argnames="size")(mask, size=size))
    assert (found == dilated(mask, kernel)).all()


def test_dilation_scales_with_the_image():
    """Protects: 50 pixels at 1024, 13 at 256, 3 at 64, never less than 1."""
    for side, size in ((1024, 50), (256, 13), (64, 3), (8, 1)):
        mask = np.zeros((side, side), bool)
        mask[side // 2, side // 2] = True
        assert np.asarray(regions.dilate(mask)).sum() == ellipse(size).sum()
    with pytest.raises(ValueError, match="size is 0"):
        regions.dilate(mask, size=0)
