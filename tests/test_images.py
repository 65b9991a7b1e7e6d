"""jaxedit.images: rounding, sheets, files that are complete or absent."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import images


def test_to_uint8_equals_the_formula_and_clips():
    image = np.linspace(-1.5, 1.5, 3001, dtype=np.float32).reshape(1, -1, 1)
    expected = np.floor(np.clip(127.5 * image.astype(np.float64) + 128, 0, 255))
    result = np.asarray(images.to_uint8(jnp.asarray(image)))
    assert result.dtype == np.uint8
    assert (np.abs(result - expected) <= (np.abs(127.5 * image % 1) < 1e-4)).all()
    assert images.to_uint8(jnp.array([-1.0, 0.0, 1.0, -9.0, 9.0])).tolist() == [0, 128, 255, 0, 255]


def test_bfloat16_images_are_rounded_in_float32():
    image = jnp.linspace(-1, 1, 64).astype(jnp.bfloat16)
    assert images.to_uint8(image).tolist() == images.to_uint8(image.astype(jnp.float32)).tolist()


def test_bytes_survive_the_way_to_floats_and_back():
    levels = jnp.arange(256).astype(jnp.uint8)
    assert images.to_uint8(images.from_uint8(levels)).tolist() == levels.tolist()


def test_grid_lays_out_row_by_row():
    tiles = [np.full((2, 3, 3), value, np.uint8) for value in range(1, 6)]
    sheet = images.image_grid(iter(tiles), columns=3, rows=2)
    assert sheet.shape == (4, 9, 3)
    assert sheet[::2, ::3, 0].tolist() == [[1, 2, 3], [4, 5, 0]]


def test_grid_shrinks_to_the_largest_side():
    tiles = [np.full((64, 64, 3), value, np.uint8) for value in (10, 200)]
    sheet = images.image_grid(tiles, columns=2, rows=1, max_side=64)
    assert sheet.shape == (32, 64, 3)
    assert set(np.unique(sheet[:, :32])) == {10} and set(np.unique(sheet[:, 32:])) == {200}


@pytest.mark.parametrize(
    ("shapes", "columns", "message"),
    [([], 1, "at least one"), ([(4, 4, 3)] * 3, 2, "more than 2"), ([(4, 4, 3), (4, 5, 3)], 2, "image 1 .* shape")],
)
def test_grid_refuses(shapes, columns, message):
    with pytest.raises(ValueError, match=message):
        images.image_grid((np.zeros(shape, np.uint8) for shape in shapes), columns=columns, rows=1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_files_keep_every_byte(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, channels)).astype(np.uint8)
    images.save_png(tmp_path / "image.png", image)
    assert (images.read_png(tmp_path / "image.png") == image).all()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    images.save_png(path, np.zeros((2, 2, 3), np.uint8))
    before = path.read_bytes()

    def fails(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("PIL.Image.Image.save", fails)
    with pytest.raises(OSError, match="disk full"):
        images.save_png(path, np.ones((2, 2, 3), np.uint8))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.png"]
