"""jaxedit.datasets of public data: attributes, splits, nothing fetched.

What tensorflow-datasets writes and reads is real here; the images are our own.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxedit import datasets, images


def as_bytes(batch: datasets.Batch) -> np.ndarray:
    return np.asarray(images.to_uint8(jnp.asarray(batch.images)))


@contextlib.contextmanager
def offline_builder(name: str, records: dict[str, list]) -> Iterator[None]:
    """Has tensorflow-datasets' builder prepare records of our own instead of fetching the data."""
    builder = type(tfds().builder(name))
    with mock.patch.object(builder, "_split_generators", lambda *_: {k: iter(v) for k, v in records.items()}):
        yield


def tfds():
    pytest.importorskip("importlib_resources", reason="tensorflow-datasets needs it to prepare data")
    return pytest.importorskip("tensorflow_datasets")


def picture_bytes(value: int, height: int, width: int, kind: str) -> io.BytesIO:
    """A picture of one value with a white frame of 10 rows above and below its middle square."""
    pixels = np.full((height, width, 3), value, np.uint8)
    margin = (height - width) // 2
    pixels[:margin], pixels[height - margin :] = 255, 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    buffer.seek(0)
    return buffer


@pytest.fixture(scope="session")
def celeb_a_dir(tmp_path_factory) -> Path:
    """Six images; image i has value 20 i and attribute j if bit j % 3 of i is set."""
    path = tmp_path_factory.mktemp("celeb_a")
    features = tfds().builder("celeb_a", data_dir=path).info.features
    records = [
        (
            f"{index + 1:06}.jpg",
            {
                "image": picture_bytes(20 * index, 218, 178, "JPEG"),
                "attributes": {name: bool(index >> j % 3 & 1) for j, name in enumerate(datasets.CELEB_A_ATTRIBUTES)},
                "landmarks": dict.fromkeys(features["landmarks"], 0),
                "identity": dict.fromkeys(features["identity"], 0),
            },
        )
        for index in range(6)
    ]
    with offline_builder("celeb_a", {"train": records, "test": records[:2]}):
        datasets.celeb_a(size=8, batch_size=2, seed=0, data_dir=path, download=True)
    return path


def test_celeb_a_gives_images_with_their_attributes(celeb_a_dir):
    """Protects: the order of the attributes, the crop without the frame, and records that stay together."""
    dataset = datasets.celeb_a(size=16, batch_size=6, seed=1, data_dir=celeb_a_dir)
    batch = dataset.batch(0)
    assert dataset.attribute_names == datasets.CELEB_A_ATTRIBUTES and batch.attributes.shape == (6, 40)
    found = as_bytes(batch)
    index = np.rint(found.mean(axis=(1, 2, 3)) / 20).astype(int)
    assert sorted(index) == list(range(6))
    assert abs(found - 20 * index[:, None, None, None]).max() <= 3
    assert (batch.attributes == index[:, None] >> np.arange(40)[None] % 3 & 1).all()
    assert len(datasets.celeb_a(size=8, batch_size=2, seed=0, split="test", data_dir=celeb_a_dir)) == 2
    assert len(datasets.celeb_a(size=8, batch_size=2, seed=0, split="train+test", data_dir=celeb_a_dir)) == 8
    with pytest.raises(ValueError, match="Unknown split"):
        datasets.celeb_a(size=8, batch_size=2, seed=0, split="tests", data_dir=celeb_a_dir)


def test_attributes_of_celeb_a_are_those_of_tensorflow_datasets():
    """Protects: 40 names without a slip."""
    names = tfds().builder("celeb_a").info.features["attributes"]
    assert list(names) == list(datasets.CELEB_A_ATTRIBUTES) and len(datasets.CELEB_A_ATTRIBUTES) == 40


def test_nothing_is_downloaded_unless_asked_for(tmp_path, monkeypatch):
    """Protects: no surprise of gigabytes; the error says what to run. Asked for, what is missing is named."""

    def download(*_, **__):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(tfds().core.DatasetBuilder, "download_and_prepare", download)
    calls = [
        (datasets.celeb_a, "celeb_a", {}),
        (datasets.celeb_a_hq, "celeb_a_hq/256", {"resolution": 256}),
        (datasets.oxford_flowers102, "oxford_flowers102", {}),
    ]
    for function, name, options in calls:
        command = f"{name} is not prepared .* `tfds build {name} --file_format=array_record --data_dir={tmp_path}`"
        with pytest.raises(FileNotFoundError, match=command) as error:
            function(size=8, batch_size=2, seed=0, data_dir=tmp_path, **options)
        assert "\n" not in str(error.value)
        with pytest.raises(ModuleNotFoundError, match=f"preparing {name} needs tensorflow .*: pip install tensorflow"):
            function(size=8, batch_size=2, seed=0, data_dir=tmp_path, download=True, **options)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(monkeypatch):
    """Protects: one line says what to install."""
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxedit\[data\]'"):
        datasets.celeb_a(size=8, batch_size=2, seed=0)


def test_oxford_flowers_are_one_hot(tmp_path):
    """Protects: one type of batch also for classes; names of all 102."""
    records = [
        (f"{label}", {"image": picture_bytes(2 * label, 60, 40, "JPEG"), "label": label, "file_name": "f.jpg"})
        for label in (0, 50, 101)
    ]
    with offline_builder("oxford_flowers102", {"train": records}):
        dataset = datasets.oxford_flowers102(size=16, batch_size=3, seed=0, data_dir=tmp_path, download=True)
    batch = dataset.batch(0)
    labels = np.rint(as_bytes(batch).mean(axis=(1, 2, 3)) / 2).astype(int)
    assert sorted(labels) == [0, 50, 101]
    assert (batch.attributes == np.eye(102)[labels]).all()
    assert dataset.attribute_names[0] == "pink primrose" and dataset.attribute_names[101] == "blackberry lily"


def test_damaged_records_are_named(tmp_path):
    """Protects: the same messages as for files."""
    content = io.BytesIO(picture_bytes(9, 60, 40, "JPEG").getvalue()[:-400])
    records = [("0", {"image": content, "label": 0, "file_name": "f.jpg"})]
    with offline_builder("oxford_flowers102", {"train": records}):
        dataset = datasets.oxford_flowers102(size=8, batch_size=1, seed=0, data_dir=tmp_path, download=True)
    with pytest.raises(ValueError, match=r"1 damaged image\(s\): oxford_flowers102 train record 0: .*(?i:truncated)"):
        dataset.batch(0)


# CelebA-HQ.


def mapping_lines() -> list[str]:
    """A mapping with the right numbers: originals 0..27175 and 182637.. of CelebA."""
    originals = [*range(27_176), *range(182_637, 182_637 + 2_824)]
    return [f"{index:<10} {original:<10} {original + 1:06}.jpg\n" for index, original in enumerate(originals)]


@pytest.fixture(scope="session")
def mapping(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mapping") / "mapping.txt"
    path.write_text("".join(mapping_lines()))
    return path


def test_the_real_split_has_the_published_numbers(fixtures):
    """Protects: 27,176 and 2,824 images (L2M-GAN, section 4.1), by train + validation against test of CelebA."""
    path = fixtures / "celeba_hq" / "CelebA-HQ-to-CelebA-mapping.txt"
    split = datasets.celeb_a_hq_split(path)
    assert (len(split["train"]), len(split["test"])) == (27_176, 2_824)
    assert sorted([*split["train"], *split["test"]]) == list(range(30_000))
    table = np.loadtxt(path, usecols=(0, 1), dtype=int)
    numbers = table[:, 1] + 1
    parts = [(numbers <= 162_770).sum(), ((numbers > 162_770) & (numbers <= 182_637)).sum()]
    assert sum(parts) == 27_176 and 27_176 not in parts
    assert (split["test"] == table[numbers > 182_637, 0]).all()


def test_the_split_is_read_with_or_without_headings(mapping, tmp_path):
    """Protects: both published forms of the file."""
    headed = tmp_path / "headed.txt"
    headed.write_text("idx\t\torig_idx   orig_file\n" + mapping.read_text())
    for path in (mapping, headed):
        split = datasets.celeb_a_hq_split(path)
        assert split["train"].tolist() == list(range(27_176))
        assert split["test"].tolist() == list(range(27_176, 30_000))


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        (5, None, "29999 lines instead of 30000"),
        (5, "5 5 6.jpg\n", "line 6: '5 5 6.jpg' is not '5 N M.jpg'"),
        (5, "6 5 000006.jpg\n", "line 6: "),
        (5, "5 5 000005.jpg\n", "line 6: "),
        (5, "5 202599 202600.jpg\n", "line 6: "),
        (5, "\n", "line 6: ''"),
        (5, "5 ٥ 000006.jpg\n", "line 6: "),
        (5, "5 6 000007.jpg\n", "the same original"),
        (5, "5 190000 190001.jpg\n", "2825 originals are test images of CelebA instead of 2824"),
        (5, "x" * (1 << 22), "larger than 4194304 bytes"),
    ],
)
def test_a_damaged_mapping_is_refused(tmp_path, line, new, message):
    """Protects: no other split by mistake; the line is named."""
    lines = mapping_lines()
    lines[line : line + 1] = [] if new is None else [new]
    path = tmp_path / "mapping.txt"
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{path}.*{message}") as error:
        datasets.celeb_a_hq_split(path)
    assert "\n" not in str(error.value)


class HqRecord(dict):
    """A record of CelebA-HQ that draws its image only when asked: pixels (index // 256, index % 256, 0)."""

    def __missing__(self, key: str) -> bytes:
        assert key == "image"
        buffer = io.BytesIO()
        Image.new("RGB", (2, 2), (self["index"] // 256, self["index"] % 256, 0)).save(buffer, format="PNG")
        return buffer.getvalue()


def hq_records(name: str, rows: int = 30_000) -> list[HqRecord]:
    """Records in a shuffled order, with files named by their number from 0 and from 1."""
    indices = np.random.default_rng(0).permutation(30_000)[:rows].tolist()
    return [HqRecord({"index": index, "image/filename": name.format(index, index + 1).encode()}) for index in indices]


def mocked_hq(records: list[HqRecord], **options) -> datasets.Dataset:
    mocked = tfds().testing.mock_data(as_data_source_fn=lambda self, split, decoders: records)
    with mocked:
        return datasets.celeb_a_hq(**{"resolution": 64, "size": 2, "batch_size": 4, "seed": 0, **options})


@pytest.mark.parametrize("name", ["imgHQ{0:05}.png", "data64x64/{1:05}.jpg"])
def test_celeb_a_hq_splits_by_file_name(mapping, name):
    """Protects: the images of a split are found among the records, in copies numbered from 0 and from 1."""
    records = hq_records(name)
    for split, first, count in [("train", 0, 27_176), ("test", 27_176, 2_824)]:
        dataset = mocked_hq(records, split=split, mapping=mapping, batch_size=300)
        batch = dataset.batch(0)
        assert len(dataset) == count and batch.attributes.shape == (300, 0)
        pixels = as_bytes(batch)[:, 0, 0].astype(int)
        found = set(256 * pixels[:, 0] + pixels[:, 1])
        assert len(found) == 300 and found <= set(range(first, first + count))
    assert len(mocked_hq(records)) == 30_000


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["imgHQ00001.png"], "numbered neither 0..29999 nor 1..30000"),
        (["imgHQ00000.png", "30000.png"], "numbered neither"),
        (["imgHQ00000.png", "00000.png"], "record 1: '00000.png' does not tell"),
        (["face.png"], "record 0: 'face.png' does not tell"),
        (["00000.png", "30001.png"], "record 1: '30001.png' does not tell"),
    ],
)
def test_celeb_a_hq_refuses_files_of_unknown_number(mapping, names, message):
    """Protects: training and test images are never confused by another way of naming."""
    records = [HqRecord({"index": 0, "image/filename": name.encode()}) for name in names]
    with pytest.raises(ValueError, match=message):
        mocked_hq(records, split="train", mapping=mapping)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, "no split 'validation'"),
        ({"split": "test"}, "split test needs mapping"),
        ({"mapping": "file.txt"}, "mapping goes with split train or test"),
        ({"resolution": 300}, "no resolution 300"),
    ],
)
def test_celeb_a_hq_refuses_impossible_options(options, message):
    """Protects: one clear line before anything is read."""
    with pytest.raises(ValueError, match=message):
        datasets.celeb_a_hq(**{"resolution": 64, "size": 8, "batch_size": 2, "seed": 0, **options})


def test_celeb_a_hq_reads_what_tensorflow_datasets_prepares(mapping, tmp_path):
    """Protects: the names of the records' fields, which the mocked tests above assume."""
    records = [
        (f"{i}", {"image": picture_bytes(20 * i, 64, 64, "PNG"), "image/filename": f"imgHQ{i:05}.png"})
        for i in range(5)
    ]
    with offline_builder("celeb_a_hq/64", {"train": records}):
        dataset = datasets.celeb_a_hq(
            resolution=64,
            size=32,
            batch_size=5,
            seed=0,
            split="train",
            mapping=mapping,
            data_dir=tmp_path,
            download=True,
        )
    assert sorted(as_bytes(dataset.batch(0))[:, 3, 3, 0].tolist()) == [0, 20, 40, 60, 80]
