"""jaxedit.datasets: batches that depend on seed and step only, pixels, damaged files, avatars."""

import io
import os
import struct
import zlib
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxedit.avatars
from jaxedit import datasets, images
from jaxedit.datasets import batches, sources


def save_numbered(folder: Path, count: int, size: int = 8) -> None:
    """Image i has pixels of value 10 i, and 255 in its left column."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.full((size, size, 3), 10 * index, np.uint8)
        pixels[:, 0] = 255
        images.save_png(folder / f"{index:02}.png", pixels)


def as_bytes(batch: datasets.Batch) -> np.ndarray:
    return np.asarray(images.to_uint8(jnp.asarray(batch.images)))


def numbers(batch: datasets.Batch) -> list[int]:
    return (as_bytes(batch)[:, 3, 4, 0] // 10).tolist()


def folder_of(path: Path, **options) -> datasets.Dataset:
    return datasets.image_folder(path, **{"size": 8, "batch_size": 4, "seed": 3, **options})


def single(path: Path, *, size: int) -> np.ndarray:
    """The only image of a folder, as bytes."""
    return as_bytes(datasets.image_folder(path, size=size, batch_size=1, seed=0).batch(0))[0]


# Order.


def test_batches_have_one_type(tmp_path):
    """Protects: what every training relies on."""
    save_numbered(tmp_path, 6)
    dataset = folder_of(tmp_path)
    batch = dataset.batch(0)
    assert (batch.images.shape, batch.images.dtype) == ((4, 8, 8, 3), np.float32)
    assert (batch.attributes.shape, batch.attributes.dtype) == ((4, 0), np.float32)
    assert batch.images.min() >= -1 and batch.images.max() == 1
    assert (len(dataset), dataset.size, dataset.attribute_names) == (6, 8, ())


def test_a_batch_depends_on_seed_and_step_only(tmp_path):
    """Protects: a killed training goes on without a seam."""
    save_numbered(tmp_path, 10)
    first, again = folder_of(tmp_path, mirror=True), folder_of(tmp_path, mirror=True)
    expected = [first.batch(step).images for step in range(12)]
    for step in (11, 3, 3, 0, 7):
        assert (again.batch(step).images == expected[step]).all()
    other = folder_of(tmp_path, seed=4, mirror=True)
    assert sum((other.batch(step).images == expected[step]).all() for step in range(12)) <= 1


def test_the_order_stays_what_it_is(tmp_path):
    """Protects: a training resumed with another version of Python, NumPy or this package."""
    save_numbered(tmp_path, 10)
    dataset = folder_of(tmp_path)
    assert [numbers(dataset.batch(step)) for step in (0, 1, 2, 2**40)] == ORDER


ORDER = [[6, 1, 8, 5], [2, 7, 9, 4], [9, 7, 8, 3], [2, 9, 3, 4]]


def test_an_epoch_repeats_nothing_and_drops_other_images_every_time(tmp_path):
    """Protects: all images count alike, although 2 of 10 do not fill a batch."""
    save_numbered(tmp_path, 10)
    dataset = folder_of(tmp_path)
    epochs = [numbers(dataset.batch(2 * epoch)) + numbers(dataset.batch(2 * epoch + 1)) for epoch in range(100)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 95
    seen = np.bincount(np.ravel(epochs), minlength=10)
    assert (abs(seen - 80) < 5 * np.sqrt(100 * 0.8 * 0.2)).all()


def test_mirror_turns_half_of_the_images_left_to_right(tmp_path):
    """Protects: the right axis, the same order of images, and no image that is always or never mirrored."""
    save_numbered(tmp_path, 8)
    plain, mirrored = folder_of(tmp_path, batch_size=8), folder_of(tmp_path, batch_size=8, mirror=True)
    turned = np.zeros((40, 8), bool)
    for step in range(40):
        before, after = as_bytes(plain.batch(step)), as_bytes(mirrored.batch(step))
        for place in range(8):
            turned[step, before[place, 0, 4, 0] // 10] = not (after[place] == before[place]).all()
            assert (after[place] == (before[place], before[place, :, ::-1])).all(axis=(1, 2, 3)).any()
    assert 0.35 < turned.mean() < 0.65
    assert (turned.sum(axis=0) > 5).all() and (turned.sum(axis=0) < 35).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size 0"),
        ({"batch_size": 0}, "batch size 0"),
        ({"batch_size": 7}, r"6 image\(s\) do not fill a batch of 7"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**32}, "seed 4294967296"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, message):
    """Protects: an error at the start and not hours later."""
    save_numbered(tmp_path, 6)
    with pytest.raises(ValueError, match=message):
        folder_of(tmp_path, **options)
    with pytest.raises(ValueError, match="no batch -1"):
        folder_of(tmp_path).batch(-1)


# Folders.


def test_folders_are_read_recursively_by_suffix(tmp_path):
    """Protects: hidden files (such as `._a.jpg` of macOS) and folders (of notebooks, of thumbnails), what systems put
    beside pictures, other files, pipes and linked folders stay out; the folder itself may be hidden."""
    picture = Image.new("RGB", (8, 8))
    names = ["b.PNG", "a/z.jpg", "a/b/c.jpeg", "a.webp"]
    hidden = ["._a.png", "a/.hidden.jpg", "elsewhere/.x.png", ".thumbnails/b.png", "a/.ipynb_checkpoints/deep/z.jpg"]
    tmp_path = tmp_path / ".pictures"
    for name in [*names, *hidden, "__MACOSX/b.png", "a/@eaDir/z.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    dataset = folder_of(tmp_path)
    assert len(dataset) == 4
    assert (dataset.batch(0).images == -1).all()


def test_files_are_sorted_whatever_the_file_system_says(tmp_path):
    """Protects: the same batches on another machine."""
    save_numbered(tmp_path, 8)
    listing = os.walk(tmp_path)
    expected = numbers(folder_of(tmp_path).batch(0))
    with mock.patch("os.walk", lambda *_, **__: [(p, d, n[::-1]) for p, d, n in listing]):
        assert numbers(folder_of(tmp_path).batch(0)) == expected


def test_numbers_in_names_count_as_numbers(tmp_path):
    """Protects: the order in which people number files and folders, and one order for names that differ in zeros."""
    names = ["1/10.png", "2/0.png", "2/01.png", "2/1.png", "10/8.png", "10/9.png", "10/10.png", "a.png", "b.png"]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (1, 1), (names.index(name), 0, 0)).save(tmp_path / name)
    dataset = datasets.image_folder(tmp_path, size=1, batch_size=9, seed=0)
    order = np.argsort(batches._random_bits(0, 0, 0, 9), kind="stable")
    assert as_bytes(dataset.batch(0))[:, 0, 0, 0].tolist() == order.tolist()


def test_folders_without_images_are_refused(tmp_path):
    """Protects: one clear line for a wrong path."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, error, message in [
        ("nowhere", FileNotFoundError, "nowhere: no such folder"),
        ("file", NotADirectoryError, "file: not a folder"),
        ("empty", FileNotFoundError, r"empty: no image in it \(.png"),
    ]:
        for reading in (folder_of, datasets.check_images):
            with pytest.raises(error, match=message):
                reading(tmp_path / name)


# Pixels.


def test_images_of_the_right_size_keep_every_byte(tmp_path):
    """Protects: prepared data from being filtered again."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    images.save_png(tmp_path / "a.png", pixels)
    assert (single(tmp_path, size=16) == pixels).all()


@pytest.mark.parametrize(("height", "width"), [(16, 25), (25, 16)])
def test_the_middle_square_is_taken(tmp_path, height, width):
    """Protects: CelebA's crop, and no distortion."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    images.save_png(tmp_path / "a.png", pixels)
    top, left = (height - 16) // 2, (width - 16) // 2
    assert (single(tmp_path, size=16) == pixels[top : top + 16, left : left + 16]).all()


def test_reduction_does_not_alias(tmp_path):
    """Protects: frequencies that the small image cannot show become their mean; a plain subsampling gives stripes."""
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    images.save_png(tmp_path / "a.png", stripes)
    inner = single(tmp_path, size=20)[3:-3, 3:-3].astype(int)
    assert abs(inner - 127.5).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(tmp_path, orientation):
    """Protects: photographs from phones; the expected position of each corner is from the EXIF standard."""
    corners = np.array([[10, 60], [110, 160]])  # upright
    stored = {  # what the file's first row and first column are of the scene
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.T,
        6: np.rot90(corners, 1),
        7: corners[::-1, ::-1].T,
        8: np.rot90(corners, -1),
    }[orientation]
    picture = Image.fromarray(np.kron(stored, np.ones((8, 8))).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    assert (single(tmp_path, size=16)[4::8, 4::8, 0] == corners).all()


def palette() -> Image.Image:
    picture = Image.new("P", (4, 4), 7)
    picture.putpalette([200, 100, 50] * 256)
    return picture


@pytest.mark.parametrize(
    ("picture", "name", "options"),
    [
        (palette(), "a.png", {}),
        (Image.new("RGB", (4, 4), (200, 100, 50)), "a.webp", {"lossless": True}),
        (Image.new("RGB", (4, 4), (200, 100, 50)), "a.jpg", {"quality": 100, "subsampling": 0}),
        (Image.new("RGB", (4, 4), (200, 100, 50)).convert("CMYK"), "a.jpg", {"quality": 100}),
    ],
)
def test_everything_becomes_rgb(tmp_path, picture, name, options):
    """Protects: no colour of a palette or of CMYK is lost, no warning."""
    picture.save(tmp_path / name, **options)
    assert abs(single(tmp_path, size=4).astype(int) - [200, 100, 50]).max() <= 2


@pytest.mark.parametrize(
    ("picture", "name", "options"),
    [
        (Image.new("RGBA", (4, 4), (200, 100, 50, 51)), "a.png", {}),
        (Image.new("RGBA", (4, 4), (200, 100, 50, 51)), "a.webp", {"lossless": True}),
        (palette(), "a.png", {"transparency": bytes([51] * 256)}),
        (Image.new("LA", (4, 4), (200, 51)), "a.png", {}),
        (Image.new("RGB", (4, 4), (200, 100, 50)), "a.png", {"transparency": (200, 100, 50)}),
    ],
)
def test_transparent_pixels_show_the_background(tmp_path, picture, name, options):
    """Protects: colours hidden under transparency, often noise or black, are not trained on; no warning."""
    picture.save(tmp_path / name, **options)
    color = {"LA": np.full(3, 200)}.get(picture.mode, np.array([200, 100, 50]))
    share = 0.0 if picture.mode == "RGB" else 0.2
    for background in (None, (0, 0, 255)):
        chosen = {} if background is None else {"background": background}
        dataset = folder_of(tmp_path, size=4, batch_size=1, **chosen)
        expected = share * color + (1 - share) * np.array(background or (255, 255, 255))
        assert abs(as_bytes(dataset.batch(0))[0] - expected).max() <= 2


def test_edges_of_transparent_pictures_have_no_fringe(tmp_path):
    """Protects: the background comes before the resizing, which would mix the hidden colour in."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :15] = 255
    images.save_png(tmp_path / "a.png", pixels)
    assert single(tmp_path, size=8).min() == 255


@pytest.mark.parametrize("background", [(0, 0, 256), (-1, 0, 0), (0, 0)])
def test_impossible_backgrounds_are_refused(tmp_path, unchecked, background):
    """Protects: an error before the training instead of in its first batch."""
    save_numbered(tmp_path, 4)
    with pytest.raises(ValueError, match=r"background is .*; three numbers from 0 to 255"):
        folder_of(tmp_path, background=background)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_of_8_and_16_bits(tmp_path, dtype):
    """Protects: 16-bit greys from being clipped to white, which Pillow's conversion does."""
    levels = np.arange(0, 256, 16).astype(dtype).reshape(4, 4)
    Image.fromarray(levels * (257 if dtype == np.uint16 else 1)).save(tmp_path / "a.png")
    assert (single(tmp_path, size=4) == levels[:, :, None]).all()


# Damaged and hostile files.


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def encoded(kind: str, size: int = 32) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encoded("PNG")[:-400], "truncated"),
        (encoded("JPEG")[:-400], "truncated"),
        (encoded("WEBP")[:-100], "."),
        (encoded("GIF"), "no PNG, JPEG or WebP image"),
        (b"hello", "no PNG, JPEG or WebP image"),
        (b"", "no PNG, JPEG or WebP image"),
        (png_header(8193, 8192), "8193 x 8192 pixels are more than 67108864"),
        (png_header(2**31 - 1, 2**31 - 1), "pixels"),
        (png_header(64, 64), "."),
    ],
)
def test_damaged_files_are_named_in_one_line(tmp_path, content, problem):
    """Protects: no half image in a training, and the file is found at once."""
    path = tmp_path / "bad\nname.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"1 damaged image\(s\): {tmp_path}/bad\\nname.png: .*{problem}") as error:
        single(tmp_path, size=8)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_bombs_are_refused_without_warnings_too(tmp_path, monkeypatch):
    """Protects: our own limit, where a program has turned Pillow's off."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(ValueError, match="60000 x 60000 pixels are more"):
        single(tmp_path, size=8)


def test_damaged_files_of_a_batch_are_reported_together(tmp_path):
    """Protects: repairing a folder in one go."""
    save_numbered(tmp_path, 1)
    for index in range(7):
        (tmp_path / f"bad{index}.jpg").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"7 damaged image\(s\): .*bad.\.jpg: no PNG.*; and 2 more") as error:
        folder_of(tmp_path, batch_size=8).batch(0)
    assert str(error.value).count("bad") == 5 and "00.png" not in str(error.value)


def test_a_folder_is_checked_before_a_training(tmp_path):
    """Protects: every kind of damaged file is found at once, and no sound one is refused."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    for name in ("a.png", "b.jpg", "c.webp", "d.jpeg"):
        picture.save(tmp_path / name)
    picture.save(tmp_path / "two.jpg", format="MPO", save_all=True, append_images=[picture])
    for name, rest in [("a.png", b"more"), ("b.jpg", b"\0\0"), ("c.webp", b"more")]:
        (tmp_path / f"longer_{name}").write_bytes((tmp_path / name).read_bytes() + rest)
    seen = []
    assert datasets.check_images(tmp_path, progress=lambda *numbers: seen.append(numbers)) == 8
    assert seen == [(8, 8)] and datasets.check_images(tmp_path) == 8
    for name in ("a.png", "b.jpg", "c.webp", "two.jpg"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"short_{name}").write_bytes(content[: len(content) // 3])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(ValueError, match=r"^7 damaged image\(s\): .*empty.png: no PNG.*; and 2 more$") as error:
        datasets.check_images(tmp_path)
    assert "\n" not in str(error.value) and "longer" not in str(error.value)


def test_the_check_goes_on_in_steps(tmp_path, monkeypatch):
    """Protects: progress that moves, and no file that is left out between two steps."""
    monkeypatch.setattr(sources, "_AT_A_TIME", 2)
    save_numbered(tmp_path, 5)
    seen = []
    assert datasets.check_images(tmp_path, progress=lambda *numbers: seen.append(numbers)) == 5
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_a_file_that_has_gone_is_named(tmp_path):
    """Protects: clear errors where files change under a training."""
    save_numbered(tmp_path, 4)
    dataset = folder_of(tmp_path)
    (tmp_path / "02.png").unlink()
    with pytest.raises(ValueError, match=r"1 damaged image\(s\): .*02.png: No such file"):
        dataset.batch(0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_random_damage_is_an_image_or_one_line(kind):
    """Protects: whatever a decoder raises is turned into a message."""
    rng, original = np.random.default_rng(2), np.frombuffer(encoded(kind), np.uint8)
    refused = 0
    with batches.ThreadPoolExecutor(1) as threads:
        for _ in range(150):
            content = original.copy()
            places = rng.integers(0, len(content), 3)
            content[places] = rng.integers(0, 256, 3)
            record = batches.Record("name", io.BytesIO(content.tobytes()), np.zeros(0, np.float32))
            try:
                assert batches._decode_all(threads, [record], 8, batches.WHITE).shape == (1, 8, 8, 3)
            except ValueError as error:
                assert "name: " in str(error) and "\n" not in str(error) and len(str(error)) < 300
                assert "Type-check" not in str(error)
                refused += 1
    assert refused


# Avatars.


def flat_avatar(factors: jaxedit.avatars.Factors, *, size: int) -> jaxedit.avatars.Rendering:
    """Instead of `render`, whose compilation takes long: one colour made of the factors."""
    color = 2.0 * jnp.stack([factors.skin_tone, factors.age, factors.hair_length]) - 1.0
    image = jnp.broadcast_to(color, (size, size, 3))
    return jaxedit.avatars.Rendering(image, jnp.zeros((size, size), jnp.int32), jnp.zeros((68, 2)))


def test_avatars_are_a_function_of_seed_and_step(monkeypatch):
    """Protects: the documented keys, so that others can draw the same avatars; nothing ever ends."""
    monkeypatch.setattr(jaxedit.avatars, "render", flat_avatar)
    dataset = datasets.avatars(size=4, batch_size=3, seed=7)
    batch = dataset.batch(5)
    assert isinstance(batch.images, jax.Array) and isinstance(batch.attributes, jax.Array)
    for index, key in enumerate(jax.random.split(jax.random.fold_in(jax.random.key(7), 5), 3)):
        factors = jaxedit.avatars.sample_factors(key)
        np.testing.assert_allclose(batch.images[index], flat_avatar(factors, size=4).image, atol=1e-5)
        assert batch.attributes[index].tolist() == jaxedit.avatars.attributes(factors).tolist()
    assert abs(dataset.batch(6).images - batch.images).max() > 0.1
    other = datasets.avatars(size=4, batch_size=3, seed=2**32 - 1)
    assert abs(other.batch(5).images - batch.images).max() > 0.1
    with pytest.raises(TypeError, match="no length"):
        len(dataset)
    with pytest.raises(ValueError, match="seed"):
        datasets.avatars(size=4, batch_size=3, seed=-1)


def test_avatars_are_batches_of_the_one_type():
    """Protects: the agreement with the real renderer, which is traced and not compiled."""
    dataset = datasets.avatars(size=16, batch_size=3, seed=7)
    batch = jax.eval_shape(lambda: dataset.batch(0))
    assert (batch.images.shape, batch.images.dtype) == ((3, 16, 16, 3), jnp.float32)
    assert (batch.attributes.shape, batch.attributes.dtype) == ((3, 12), jnp.float32)
    assert dataset.attribute_names == jaxedit.avatars.ATTRIBUTES
