"""jaxedit.sheets: names beside and above, long sheets in panels, missing images, the largest size."""

import numpy as np
import pytest

from jaxedit.sheets import labelled_sheet


def tiles(count: int, side: int = 128) -> list[np.ndarray]:
    """Images of one colour each."""
    return [np.full((side, side, 3), (index, 200, 10), np.uint8) for index in range(count)]


def places(sheet: np.ndarray, count: int) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom and right of the images, found by their colours."""
    found = []
    for index in range(count):
        rows, columns = np.nonzero((sheet == (index, 200, 10)).all(axis=2))
        found.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    return found


def test_rows_and_columns_have_names():
    """Protects: images in their order, whole, with ink beside each row and above each column."""
    sheet = labelled_sheet(tiles(6), rows=["seed 0", "seed 1"], columns=["-3", "+0", "+3"])
    boxes = places(sheet, 6)
    assert all((bottom - top, right - left) == (128, 128) for top, left, bottom, right in boxes)
    assert [box[0] for box in boxes] == sorted(box[0] for box in boxes) and boxes[0][1] < boxes[1][1] < boxes[2][1]
    for top, left, bottom, _ in (boxes[0], boxes[3]):
        assert (sheet[top:bottom, :left] < 100).any()
    for top, left, _, right in boxes[:3]:
        assert (sheet[:top, left:right] < 100).any()


@pytest.mark.parametrize(("rows", "columns"), [(32, 3), (1, 32), (2, 13), (400, 1)])
def test_long_sheets_wrap(rows: int, columns: int):
    """Protects: a sheet that can be looked at, not a ribbon of 32 rows."""
    sheet = labelled_sheet(
        (np.zeros((8, 8, 3), np.uint8) for _ in range(rows * columns)),
        rows=[f"row {index}" for index in range(rows)],
        columns=[f"column {index}" for index in range(columns)],
        max_side=2048,
    )
    assert 0.7 < sheet.shape[1] / sheet.shape[0] < 2.5 and max(sheet.shape) <= 2048


def test_small_images_are_enlarged_and_large_ones_shrunk():
    """Protects: names that can be read, and the limit on the size."""
    assert min(labelled_sheet(tiles(1, 16), rows=[""], columns=[""]).shape[:2]) == 128
    shrunk = labelled_sheet(tiles(4, 400), rows=["a", "b"], columns=["c", "d"], max_side=300)
    assert max(shrunk.shape) <= 300 and len({(b - t, r - x) for t, x, b, r in places(shrunk, 4)}) == 1


def test_missing_images_and_marks():
    """Protects: the place of an image that could not be drawn stays empty; marks don't hide an image."""
    first, _, last = tiles(3)
    sheet = labelled_sheet([first, None, last], rows=["a"], columns=["x", "y", "z"], marks=["", "+", "-"])
    count = [int((sheet == colour).all(axis=2).sum()) for colour in ((0, 200, 10), (2, 200, 10), (200, 200, 200))]
    assert 0.9 * 128**2 < count[1] < count[0] == 128**2 <= count[2]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "0 images for 1 rows and 2 columns"),
        ([(4, 4, 3)], "1 images for 1 rows and 2 columns"),
        ([(4, 4, 3)] * 3, "more than 2 images"),
        ([(4, 4, 3), (4, 5, 3)], "image 2 .* shape"),
    ],
)
def test_wrong_numbers_and_shapes(shapes: list, message: str):
    """Protects: one line for what doesn't fit."""
    with pytest.raises(ValueError, match=message):
        labelled_sheet((np.zeros(shape, np.uint8) for shape in shapes), rows=["a"], columns=["b", "c"])
