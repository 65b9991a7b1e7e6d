"""Public datasets through tensorflow-datasets, an optional dependency; TensorFlow itself is not needed to read them.

Nothing is downloaded unless asked for. Images are decoded here and not by tensorflow-datasets, whose pixels depend on
whether OpenCV is installed.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from jaxedit.datasets.batches import Dataset, Record, shuffled

CELEB_A_ATTRIBUTES = tuple(
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
    Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
    Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young""".split()
)
"""The 40 attributes in the order of CelebA's `list_attr_celeba.txt`."""

_HQ_IMAGES, _HQ_TEST = 30_000, 2_824
_CELEB_A_IMAGES = 202_599
_FIRST_TEST_FILE = 182_638  # CelebA's list_eval_partition.txt: train 1..162770, validation ..182637, test ..202599
_MAPPING_BYTES = 1 << 22


def celeb_a(
    *,
    size: int,
    batch_size: int,
    seed: int,
    split: str = "train",
    mirror: bool = False,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> Dataset:
    """CelebA (Liu et al., 2015), aligned and cropped: 202,599 faces with 40 attributes.

    The central 178 x 178 of the 178 x 218 pixels is resized to `size` (as for StarGAN).

    Args:
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) and the prepared data only.
        split: "train" (162,770 images), "validation" (19,867), "test" (19,962), or an expression of
            tensorflow-datasets such as "train+validation".
        mirror: Mirror half of the images at random, left to right.
        data_dir: Where tensorflow-datasets keeps its data; None for its default.
        download: Download and prepare the data if they are not there, which needs TensorFlow.

    Returns:
        The dataset; attributes in the order of `CELEB_A_ATTRIBUTES`.

    Raises:
        ModuleNotFoundError: tensorflow-datasets is not installed (or TensorFlow, for `download`).
        FileNotFoundError: The data are not prepared; the line says how to.
        ValueError: An unknown split, fewer images than a batch has, or an impossible size, batch size or seed.
    """
    _, source = _open("celeb_a", split, data_dir, download)

    def attributes(record: dict[str, Any]) -> Float32[np.ndarray, " 40"]:
        return np.array([record["attributes"][name] for name in CELEB_A_ATTRIBUTES], np.float32)

    read = _reader(source, range(len(source)), f"celeb_a {split}", attributes)
    return shuffled(
        read,
        len(source),
        attribute_names=CELEB_A_ATTRIBUTES,
        size=size,
        batch_size=batch_size,
        seed=seed,
        mirror=mirror,
    )


def celeb_a_hq(
    *,
    resolution: int,
    size: int,
    batch_size: int,
    seed: int,
    split: str = "all",
    mapping: str | os.PathLike | None = None,
    mirror: bool = False,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> Dataset:
    """CelebA-HQ (Karras et al., 2018): 30,000 faces, without attributes.

    tensorflow-datasets has no split of it; "train" and "test" are those of L2M-GAN, see `celeb_a_hq_split`. To find
    their images, the names of all records are read once, and with them the records (3 GB at 256 pixels).

    Args:
        resolution: Which of the prepared resolutions to read: 1, 2, 4, .. 1024.
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) and the prepared data only.
        split: "all", "train" (27,176 images) or "test" (2,824).
        mapping: `CelebA-HQ-to-CelebA-mapping.txt`, for "train" and "test" only.
        mirror: Mirror half of the images at random, left to right.
        data_dir: Where tensorflow-datasets keeps its data; None for its default.
        download: Prepare the data if they are not there, from archives that you have fetched; needs TensorFlow.

    Returns:
        The dataset, attributes `[batch, 0]`.

    Raises:
        ModuleNotFoundError: tensorflow-datasets is not installed (or TensorFlow, for `download`).
        FileNotFoundError: The data are not prepared, the line says how to; or no such mapping.
        ValueError: An unknown split or resolution, a split without mapping or the reverse, a damaged mapping, files
            whose names do not tell their number, fewer images than a batch has, or an impossible size, batch size
            or seed.
    """
    if split not in ("all", "train", "test"):
        raise ValueError(f"celeb_a_hq has no split {split!r}, but all, train and test")
    if split == "all" and mapping is not None:
        raise ValueError("celeb_a_hq: a mapping goes with split train or test, not with all")
    if split != "all" and mapping is None:
        raise ValueError(f"celeb_a_hq: split {split} needs mapping, the path of CelebA-HQ-to-CelebA-mapping.txt")
    if resolution not in (1 << power for power in range(11)):
        raise ValueError(f"celeb_a_hq has no resolution {resolution}, but powers of two up to 1024")
    members = None if mapping is None else celeb_a_hq_split(mapping)[split]
    name = f"celeb_a_hq/{resolution}"
    _, source = _open(name, "train", data_dir, download)
    rows = range(len(source)) if members is None else _hq_rows(source, members)
    read = _reader(source, rows, name, lambda record: np.zeros(0, np.float32))
    return shuffled(read, len(rows), attribute_names=(), size=size, batch_size=batch_size, seed=seed, mirror=mirror)


def celeb_a_hq_split(path: str | os.PathLike) -> dict[str, Int64[np.ndarray, " _"]]:
    """The split of CelebA-HQ in L2M-GAN (section 4.1): each image goes where CelebA puts its original.

    CelebA's test images make the test set, its training and validation images the training set.

    Args:
        path: `CelebA-HQ-to-CelebA-mapping.txt`, which comes with CelebAMask-HQ: 30,000 lines "index, CelebA index
            from 0, CelebA file numbered from 1", with or without a line of headings.

    Returns:
        "train" and "test": 27,176 and 2,824 indices of CelebA-HQ images, from 0, ascending.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Anything in the file is not as it should be; one line says what and where.
    """
    with Path(path).open("rb") as file:
        content = file.read(_MAPPING_BYTES + 1)
    if len(content) > _MAPPING_BYTES:
        raise ValueError(f"{path}: larger than {_MAPPING_BYTES} bytes, so not the mapping of CelebA-HQ")
    lines = content.decode("utf-8", "replace").splitlines()
    headings = int(bool(lines) and lines[0].split() == ["idx", "orig_idx", "orig_file"])
    if len(lines) - headings != _HQ_IMAGES:
        raise ValueError(f"{path}: {len(lines) - headings} lines instead of {_HQ_IMAGES}")
    files = [_original_file(path, line, index, headings) for index, line in enumerate(lines[headings:])]
    if len(set(files)) != len(files):
        raise ValueError(f"{path}: several images have the same original")
    is_test = np.array(files) >= _FIRST_TEST_FILE
    if is_test.sum() != _HQ_TEST:
        raise ValueError(f"{path}: {is_test.sum()} originals are test images of CelebA instead of {_HQ_TEST}")
    return {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}


def _original_file(path: str | os.PathLike, line: str, index: int, headings: int) -> int:
    """The number of the CelebA file, from 1."""
    match = re.fullmatch(r"([0-9]{1,6})\s+([0-9]{1,6})\s+([0-9]{6})\.jpg\s*", line)
    numbers = [int(group) for group in match.groups()] if match else []
    if not numbers or numbers[0] != index or numbers[2] != numbers[1] + 1 or numbers[2] > _CELEB_A_IMAGES:
        raise ValueError(
            f"{path}, line {index + headings + 1}: {line[:60]!r} is not '{index} N M.jpg' with M = N + 1 in six digits"
        )
    return numbers[2]


def _hq_rows(source: Sequence[dict[str, Any]], members: Int64[np.ndarray, " _"]) -> list[int]:
    """The records of the images `members`, in their order; the files of a copy may be numbered from 0 or from 1."""
    row_of: dict[int, int] = {}
    for row in range(len(source)):
        name = source[row]["image/filename"].decode("utf-8", "replace")
        match = re.search(r"([0-9]{1,5})\.[A-Za-z]+$", name)
        if not match or int(match[1]) in row_of or int(match[1]) > _HQ_IMAGES:
            raise ValueError(f"celeb_a_hq record {row}: {name[:60]!r} does not tell which of {_HQ_IMAGES} images it is")
        row_of[int(match[1])] = row
    if (0 in row_of) == (_HQ_IMAGES in row_of):
        raise ValueError(f"celeb_a_hq: files are numbered neither 0..{_HQ_IMAGES - 1} nor 1..{_HQ_IMAGES}")
    first = 0 if 0 in row_of else 1
    return [row_of[index + first] for index in members.tolist() if index + first in row_of]


def oxford_flowers102(
    *,
    size: int,
    batch_size: int,
    seed: int,
    split: str = "train",
    mirror: bool = False,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> Dataset:
    """Oxford Flowers 102 (Nilsback and Zisserman, 2008): 8,189 photographs of 102 kinds of flowers.

    The largest square in the middle is resized to `size`.

    Args:
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) and the prepared data only.
        split: "train" (1,020 images), "validation" (1,020), "test" (6,149), or an expression of tensorflow-datasets
            such as "train+validation+test".
        mirror: Mirror half of the images at random, left to right.
        data_dir: Where tensorflow-datasets keeps its data; None for its default.
        download: Download and prepare the data if they are not there, which needs TensorFlow.

    Returns:
        The dataset; an attribute for each of the 102 kinds, of which each image has one (one-hot).

    Raises:
        ModuleNotFoundError: tensorflow-datasets is not installed (or TensorFlow, for `download`).
        FileNotFoundError: The data are not prepared; the line says how to.
        ValueError: An unknown split, fewer images than a batch has, or an impossible size, batch size or seed.
    """
    features, source = _open("oxford_flowers102", split, data_dir, download)
    names = tuple(features["label"].names)
    one_hot = np.eye(len(names), dtype=np.float32)
    read = _reader(source, range(len(source)), f"oxford_flowers102 {split}", lambda record: one_hot[record["label"]])
    return shuffled(
        read, len(source), attribute_names=names, size=size, batch_size=batch_size, seed=seed, mirror=mirror
    )


def _reader(
    source: Sequence[dict[str, Any]],
    rows: Sequence[int],
    name: str,
    attributes: Callable[[dict[str, Any]], Float32[np.ndarray, " n"]],
) -> Callable[[int], Record]:
    def read(index: int) -> Record:
        record = source[rows[index]]
        return Record(f"{name} record {rows[index]}", io.BytesIO(record["image"]), attributes(record))

    return read


def _open(name: str, split: str, data_dir: str | os.PathLike | None, download: bool) -> tuple[Any, Sequence[Any]]:
    """The features of a dataset, and its records with images as encoded bytes, by random access."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_datasets":
            raise
        raise ModuleNotFoundError("tensorflow-datasets is not installed: pip install 'jaxedit[data]'") from None
    builder: Any = tfds.builder(name, data_dir=data_dir)
    if download:
        _prepare(builder, name)
    try:
        source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except NotImplementedError:  # also if nothing is there, as if it were stored in the default format
        place = "" if data_dir is None else f" --data_dir={data_dir}"
        raise FileNotFoundError(
            f"{name} is not prepared for random access in {builder.data_dir}: run `tfds build {name} "
            f"--file_format=array_record{place}` where tensorflow is installed, or give download=True"
        ) from None
    return builder.info.features, source


def _prepare(builder: Any, name: str) -> None:
    try:
        builder.download_and_prepare(file_format="array_record")
    except ModuleNotFoundError as error:
        missing = error.name or "tensorflow"
        raise ModuleNotFoundError(
            f"preparing {name} needs {missing} (reading does not): pip install {missing}"
        ) from error
