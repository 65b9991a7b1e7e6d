"""Images: floats about [-1, 1] to 8 bits and back, picture files."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, UnidentifiedImageError

from jaxedit.atomic import replacing
from jaxedit.messages import reason

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 1 << 26  # of a file: 8192 x 8192
_JPEG_END = b"\xff\xd9"
# Pillow calls a JPEG file of several pictures MPO; a truncated WebP file can't even be opened.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": _JPEG_END, "MPO": _JPEG_END, "WEBP": b""}


def to_uint8(image: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Converts images of any float type to 8 bits: `floor(clip(127.5 x + 128, 0, 255))`, so -1 is 0 and 1 is 255.

    Equals what NVIDIA's `generate.py` writes (stylegan2, stylegan2-ada-pytorch).

    Args:
        image: floats about [-1, 1]; values outside are clipped.

    Returns:
        The same shape, uint8. Inside a transformation such as `jit`, where values can't be looked at, NaN becomes 0.

    Raises:
        ValueError: the image has values that are not finite.
    """
    if not isinstance(image, jax.core.Tracer) and not (finite := jnp.isfinite(image)).all():
        count = finite.size - int(finite.sum())
        raise ValueError(f"an image has {count} of {finite.size} values that are not finite numbers")
    levels = 127.5 * image.astype(jnp.float32) + 128.0
    return jnp.floor(jnp.clip(levels, 0.0, 255.0)).astype(jnp.uint8)


def from_uint8(image: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Converts 8-bit images to float32 in [-1, 1] (`x / 127.5 - 1`); `to_uint8` gives the same bytes back."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def _as_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def save_png(path: str | os.PathLike, image: UInt8[Array | np.ndarray, "height width channels"]) -> None:
    """Writes one uint8 image (1, 3 or 4 channels, of NumPy or JAX) as a PNG file; a file of that name is replaced.

    The file appears under its name only once it is complete.

    Raises:
        ValueError: not uint8, or not of three axes.
        OSError: the file cannot be written; nothing is left behind.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        found = f"an image of shape {image.shape}, {image.dtype}"
        raise ValueError(f"{found}; save_png takes [height, width, channels], uint8, as from to_uint8")
    with replacing(path) as partial:
        # Fast compression: files are a few percent larger and written several times sooner.
        _as_picture(np.asarray(image)).save(partial, format="PNG", compress_level=1)


def read_png(path: str | os.PathLike) -> UInt8[np.ndarray, "height width channels"]:
    """Reads a PNG file written by `save_png`, uint8.

    Raises:
        OSError: no such file.
        ValueError: not a readable picture.
    """
    image = np.asarray(open_picture(path))
    return image if image.ndim == 3 else image[:, :, None]


def open_picture(file: str | os.PathLike | io.BytesIO, *, name: str = "") -> Image.Image:
    """Reads a picture that may come from a stranger: the only place that calls Pillow's `open`.

    Only PNG, JPEG and WebP are looked at, whatever the file is called: Pillow starts other programs for some formats.

    Args:
        file: A path, or the content of a file.
        name: What error messages call it; the path when empty.

    Returns:
        The picture, whole in memory.

    Raises:
        OSError: No such file, or it can't be opened.
        ValueError: Not a picture of these formats, damaged, or of more than `MAX_PIXELS` pixels; one line that names
            the file.
    """
    with _opened(file, name or str(file)) as picture:
        picture.load()
        return picture


def check_picture(path: str | os.PathLike) -> None:
    """Looks at the header and the end of a picture file; decodes it only if it ends in an unusual way.

    Finds what is no picture, too large, or truncated, at a cost that does not depend on its size; not a damaged middle.

    Args:
        path: The file.

    Raises:
        OSError: As `open_picture`.
        ValueError: As `open_picture`.
    """
    with _opened(path, str(path)) as picture:
        end = _ENDS[picture.format or ""]
    with open(path, "rb") as file:
        file.seek(-len(end), os.SEEK_END)
        if file.read() == end:
            return
    open_picture(path)


@contextmanager
def _opened(file: str | os.PathLike | io.BytesIO, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are more than {MAX_PIXELS}")
            yield picture
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: no PNG, JPEG or WebP image") from error
    except Exception as error:  # decoders raise about anything on a damaged file
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{name}: not a readable picture ({reason(error)})") from error
