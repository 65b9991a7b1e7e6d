"""jaxedit.images: rounding, files that are complete or absent."""

import inspect
import zlib
from pathlib import Path

import jax
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


def test_numbers_that_are_no_image_are_refused(tmp_path):
    """Protects: a black picture in place of NaN, and a PNG of something that is no 8-bit image."""
    with pytest.raises(ValueError, match="an image has 2 of 12 values that are not finite"):
        images.to_uint8(jnp.zeros((2, 2, 3)).at[0, 0, :2].set(jnp.nan))
    assert jax.jit(images.to_uint8)(jnp.full((1, 1, 3), jnp.nan)).shape == (1, 1, 3)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\), float32; save_png takes"):
        inspect.unwrap(images.save_png)(tmp_path / "a.png", np.zeros((2, 2, 3), np.float32))  # unchecked by the tests
    images.save_png(tmp_path / "a.png", images.to_uint8(jnp.ones((2, 2, 3))))
    assert images.read_png(tmp_path / "a.png").min() == 255


@pytest.mark.parametrize(
    "content", [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a" + bytes(40)]
)
def test_pictures_of_other_kinds_and_damaged_ones_are_one_line(tmp_path, content):
    """Protects: programs that Pillow starts for some formats don't see the file; all errors name it."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError) as raised:
        images.open_picture(tmp_path / "a.png")
    assert str(raised.value).startswith(f"{tmp_path / 'a.png'}: ") and "\n" not in str(raised.value)


def test_decompression_bombs_are_refused_by_their_header(tmp_path):
    """Protects: memory, from a picture of a few bytes that claims 10 gigapixels."""
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ValueError, match="a.png: "):
        images.open_picture(tmp_path / "a.png")


def test_one_place_opens_pictures():
    """Protects: the allowed formats and the pixel limit, everywhere."""
    package = Path(images.__file__).parent
    opened = [path.name for path in package.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert opened == ["images.py"]
