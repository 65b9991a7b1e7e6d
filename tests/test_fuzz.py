"""Mutated files of every format: what is read is a result or one line, soon, and without much memory."""

import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest
import safetensors.numpy
from openvino_graphs import graphs, members, write_wheel
from PIL import Image

from jaxedit import Direction, arrays, checkpoints, families, images, save_direction
from jaxedit.directions import files
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from jaxedit.networks.embedding import EmbeddingConfig
from weights_convert import read_tensors
from weights_convert.info import info

CALLS = 100_000
SECONDS, MEMORY = 5.0, 1 << 30  # of one call, and of all
CONFIG = StyleGAN2Config(resolution=8, z_dim=4, w_dim=4, channel_base=32, channel_max=4, mapping_layers=1)
D_CONFIG = DiscriminatorConfig(resolution=8, channel_base=32, channel_max=4, mbstd_group_size=None)
MOBILE = MobileStyleGANConfig(channels=(4, 4), z_dim=4, w_dim=4, mapping_layers=1)
SMALL = EmbeddingConfig(resolution=8, widths=(2,), dimensions=2, numbers=1)


def read_array_file(path: Path) -> None:
    for array in arrays.read_arrays(path).values():
        if np.prod(array.shape, dtype=object) < 1 << 20:
            np.asarray(array)


def read_checkpoint(path: Path) -> None:
    checkpoints.load(path.parent)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A format: the name that its files have, how one is written, how it is read, and its share of the calls."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    share: int


def array_files() -> list[Kind]:
    codes = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    direction = Direction(name="d", space="w", vector=codes[0], source="0" * 64)

    def metadata(path: Path) -> None:
        safetensors.numpy.save_file({"a": codes, "b": codes.astype(np.float16)}, path)

    return [
        Kind("codes.npy", lambda path: np.save(path, codes), read_array_file, 8),
        Kind("codes.npz", lambda path: np.savez(path, a=codes, b=codes[0]), read_array_file, 8),
        Kind("packed.npz", lambda path: np.savez_compressed(path, a=codes), read_array_file, 6),
        Kind("codes.safetensors", metadata, read_array_file, 6),
        Kind("direction.safetensors", lambda path: save_direction(path, direction), files.load_direction, 8),
        Kind("vector.npy", lambda path: np.save(path, codes[0]), files.load_direction, 4),
    ]


def pictures() -> list[Kind]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    return [
        Kind(f"picture.{suffix}", lambda path, suffix=suffix: picture.save(path, suffix), images.open_picture, 6)
        for suffix in ("png", "jpeg", "webp")
    ]


def networks() -> list[Kind]:
    params = families.init(jax.random.key(0), config=SMALL)
    generator = official.random_params(CONFIG)

    def checkpoint(path: Path) -> None:
        folder = path.parent / "made"
        checkpoints.save(folder, params=generator, config=CONFIG, metadata={})
        for file in folder.iterdir():
            file.rename(path.parent / file.name)

    def network(path: Path) -> None:
        checkpoints.save_file(path, params=params, config=SMALL)

    return [
        Kind("network.safetensors", network, checkpoints.load_network, 4),
        Kind("config.json", checkpoint, read_checkpoint, 1),
        Kind("params.safetensors", checkpoint, read_checkpoint, 1),
    ]


def foreign() -> list[Kind]:
    pair = official.random_params(CONFIG), CONFIG
    other = official.random_params(D_CONFIG), D_CONFIG
    tensors = {"a": pickles.Tensor(np.ones((2, 3), np.float32)), "b": [pickles.Tensor(np.ones(2, np.float32)), 1, "x"]}
    look = lambda path: info(str(path))  # noqa: E731
    faces = graphs(jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), families.abstract_params(MOBILE)), MOBILE)

    def graph(path: Path) -> None:
        for name, one in faces.items():
            (path.parent / f"{name}.bin").write_bytes(one.data)
            (path.parent / f"{name}.xml").write_text(one.xml())

    return [
        Kind("tensors.pt", lambda path: pickles.torch_save(path, tensors), read_tensors, 10),
        Kind("stream.pt", lambda path: pickles.torch_save(path, tensors, legacy=True), read_tensors, 10),
        Kind("rosinality.pt", lambda path: official.write_rosinality(path, pair, other), look, 4),
        Kind("ada.pkl", lambda path: official.write_ada(path, pair, other), look, 2),
        Kind("tensorflow.pkl", lambda path: official.write_tensorflow(path, pair, other), look, 2),
        Kind("faces.whl", lambda path: write_wheel(path, members(faces)), look, 2),
        Kind("SynthesisNetwork.xml", graph, look, 2),
    ]


def mutated(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """One to three changes of the kinds that damage and malice make."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(0, len(data) + 1))
        size = int(2 ** random.uniform(0, 7))
        match random.integers(0, 8):
            case 0 | 1:  # a flipped bit, mostly where the structure is
                place = int(random.integers(0, min(len(data), 400 if random.random() < 0.5 else len(data)) or 1))
                if place < len(data):
                    data[place] ^= 1 << int(random.integers(0, 8))
            case 2:
                data[place : place + size] = random.bytes(len(data[place : place + size]))
            case 3:  # extreme numbers
                width = 1 << int(random.integers(0, 4))
                value = (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width) - 1)[int(random.integers(0, 4))]
                data[place : place + width] = value.to_bytes(width, "little")
            case 4:
                del data[place : place + size]
            case 5:
                data[place:place] = data[place : place + size]
            case 6:
                del data[place:]
            case 7:
                start = int(random.integers(0, len(other)))
                data[place : place + size] = other[start : start + size]
    return bytes(data)


def attempt(kind: Kind, path: Path, content: bytes) -> str | None:
    """What is wrong with how a file is read; None if nothing."""
    path.write_bytes(content)
    start = time.perf_counter()
    try:
        kind.read(path)
    except (ValueError, OSError) as error:
        message = str(error)
        if not message.isprintable() or len(message) > 3000:
            return f"a message of {len(message)} characters: {message[:200]!r}"
        if str(path) not in message and str(path.parent) not in message:
            return f"the file is not named: {message[:200]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return f"{seconds:.0f} seconds" if (seconds := time.perf_counter() - start) > SECONDS else None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_mutations_end_in_one_line(tmp_path: Path):
    """Protects: tokenizers, decompressors, zip readers, image decoders and pickles of strangers from escaping."""
    kinds = [*array_files(), *pictures(), *networks(), *foreign()]
    originals = {}
    for kind in kinds:
        (folder := tmp_path / kind.name).mkdir()
        kind.write(folder / kind.name)
        originals[kind.name] = (folder / kind.name).read_bytes()
        assert attempt(kind, folder / kind.name, originals[kind.name]) is None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random, wrong = np.random.default_rng(0), []
    shares = sum(kind.share for kind in kinds)
    for kind in kinds:
        for _ in range(CALLS * kind.share // shares):
            other = originals[kinds[int(random.integers(0, len(kinds)))].name]
            content = mutated(originals[kind.name], other, random)
            if problem := attempt(kind, tmp_path / kind.name / kind.name, content):
                wrong.append(f"{kind.name}: {problem}")
    assert not wrong, "\n".join([f"{len(wrong)} of {CALLS}", *wrong[:20]])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MEMORY
