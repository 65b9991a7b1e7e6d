"""Batches of training data: one type for all sources, and each batch is found by its number alone."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float32, UInt8
from PIL import Image, ImageOps

from jaxedit.images import open_picture
from jaxedit.messages import printable, reason

Color = tuple[int, int, int]
WHITE = (255, 255, 255)
_NAMED = 5  # damaged images that an error names
_ORDER, _MIRROR = 0, 1  # independent streams of random bits


class Batch(NamedTuple):
    """A batch of training data; a pytree.

    Attributes:
        images: `[batch, size, size, 3]` float32 in [-1, 1].
        attributes: `[batch, n]` float32, each 0 or 1, in the order of `Dataset.attribute_names`; n may be 0.
    """

    images: Float32[Array | np.ndarray, "batch size size 3"]
    attributes: Float32[Array | np.ndarray, "batch n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training data without an end, by random access: a stopped training goes on at its step as if never stopped.

    `len(dataset)` is the number of different images; a dataset that makes new ones for ever has no length.

    Attributes:
        attribute_names: What the columns of `Batch.attributes` mean; empty if there are none.
        size: Height and width of the images.
        batch_size: Images per batch.
        num_images: Number of different images; None if there is no limit.
        read: What makes a batch; `batch` checks the step first.
    """

    attribute_names: tuple[str, ...]
    size: int
    batch_size: int
    num_images: int | None
    read: Callable[[int], Batch]

    def __post_init__(self):
        if self.size < 1 or self.batch_size < 1:
            raise ValueError(f"size {self.size} and batch size {self.batch_size} must be at least 1")
        if self.num_images is not None and self.num_images < self.batch_size:
            raise ValueError(f"{self.num_images} image(s) do not fill a batch of {self.batch_size}")

    def __len__(self) -> int:
        if self.num_images is None:
            raise TypeError("a dataset that makes its images has no length")
        return self.num_images

    def batch(self, step: int) -> Batch:
        """Returns batch number `step`, from 0 on without an end; the same one whenever it is asked for.

        Raises:
            ValueError: `step` is negative, or images of this batch are damaged; one line names them.
        """
        if step < 0:
            raise ValueError(f"there is no batch {step}: batches are numbered from 0")
        return self.read(step)


class Record(NamedTuple):
    """An image before it is decoded.

    Attributes:
        name: What error messages call it.
        file: A path, or the file's content.
        attributes: `[n]`, each 0 or 1.
    """

    name: str
    file: str | io.BytesIO
    attributes: Float32[np.ndarray, " n"]


def check_seed(seed: int) -> None:
    """Raises ValueError unless NumPy and JAX both take the seed: an int of 32 bits."""
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"seed {seed} is not within 0..{(1 << 32) - 1}")


def shuffled(
    read: Callable[[int], Record],
    count: int,
    *,
    attribute_names: tuple[str, ...],
    size: int,
    batch_size: int,
    seed: int,
    mirror: bool,
    background: Color = WHITE,
) -> Dataset:
    """Makes a dataset of images that are stored somewhere.

    An epoch is a permutation of all images, cut into whole batches: those left over are dropped, other ones every
    epoch. Permutations and mirrorings come from raw bits of a counter-based generator, which no version of NumPy
    may change.

    Args:
        read: Gives image number 0..count - 1. Called from one thread.
        count: Number of images.
        attribute_names: As of `Dataset`.
        size: As of `Dataset`.
        batch_size: As of `Dataset`.
        seed: 32 bits; with the step it determines a batch.
        mirror: Mirror half of the images, left to right.
        background: As of `decode`.

    Returns:
        The dataset.
    """
    check_seed(seed)
    threads = decoding_threads()

    def make(step: int) -> Batch:
        epoch, position = divmod(step, count // batch_size)
        rows = _order(seed, epoch, count)[position * batch_size :][:batch_size]
        records = [read(int(row)) for row in rows]
        images = _decode_all(threads, records, size, background)
        if mirror:
            chosen = _random_bits(seed, step, _MIRROR, batch_size) >> 63 == 1
            images[chosen] = images[chosen, :, ::-1]
        attributes = np.stack([record.attributes for record in records])
        return Batch(images.astype(np.float32) / 127.5 - 1.0, attributes)

    return Dataset(attribute_names=attribute_names, size=size, batch_size=batch_size, num_images=count, read=make)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.argsort(_random_bits(seed, epoch, _ORDER, count), kind="stable")


def _random_bits(seed: int, number: int, stream: int, count: int) -> np.ndarray:
    """`[count]` uint64: a pure function of the arguments."""
    return np.random.Philox(key=np.array([seed, number], np.uint64), counter=[0, 0, 0, stream]).random_raw(count)


def decoding_threads() -> ThreadPoolExecutor:
    """Threads that read pictures."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")


def refuse_damaged(errors: Sequence[Exception]) -> None:
    """Reports all damaged images together.

    Args:
        errors: One for each.

    Raises:
        ValueError: There are any; one line, with the first few.
    """
    if errors:
        lines = "; ".join(printable(error) for error in errors[:_NAMED])
        more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
        raise ValueError(f"{len(errors)} damaged image(s): {lines}{more}") from errors[0]


def result_or_error(read: Callable[[], Any], name: str) -> Any:
    """What `read` returns, or the error that it raises, with the file's name in its text."""
    try:
        return read()
    except OSError as error:
        return ValueError(f"{name}: {reason(error)}")
    except ValueError as error:
        return error


def _decode_all(threads: ThreadPoolExecutor, records: list[Record], size: int, background: Color) -> np.ndarray:
    """`[records, size, size, 3]` uint8."""

    def decoded(record: Record) -> np.ndarray | Exception:
        options = {"size": size, "background": background, "name": record.name}
        return result_or_error(functools.partial(decode, record.file, **options), record.name)

    results = list(threads.map(decoded, records))
    refuse_damaged([result for result in results if isinstance(result, Exception)])
    return np.stack(results)


def decode(
    file: str | io.BytesIO, *, size: int, background: Color = WHITE, name: str = ""
) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes the largest square in the middle of an image, resized to `size`.

    EXIF orientation is obeyed; colour profiles are ignored; of an animation the first frame is taken. Transparent
    pixels show the background, before anything is resized: what colour they hide says nothing about the picture.
    Resized by Pillow's LANCZOS, a windowed sinc that is as wide as the reduction needs, so nothing aliases; an image
    that has the right size keeps its bytes.

    Args:
        file: A path, or the content of a PNG, JPEG or WebP file.
        size: Height and width of the result.
        background: Red, green and blue, 0 to 255.
        name: As in `images.open_picture`.

    Returns:
        The pixels, RGB.

    Raises:
        OSError: As in `images.open_picture`.
        ValueError: As in `images.open_picture`.
    """
    picture = open_picture(file, name=name)
    ImageOps.exif_transpose(picture, in_place=True)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = _rgb(picture.crop((left, top, left + side, top + side)), background)
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _rgb(picture: Image.Image, background: Color) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    below = Image.new("RGBA", picture.size, background)
    return Image.alpha_composite(below, picture).convert("RGB")
