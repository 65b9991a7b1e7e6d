"""jaxedit.arrays: what a file holds is known before it is read, damage is noticed, and bombs cost nothing."""

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from jaxedit import arrays
from jaxedit.directions.files import load_direction
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

CODES = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
FFHQ = StyleGAN2Generator({}, StyleGAN2Config())


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read(path: Path) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.read_arrays(path).items()}


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 1000
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_an_archive(save, order, tmp_path: Path):
    """Protects: shapes, types and order, known before and equal after reading."""
    path = tmp_path / "a.npz"
    save(path, codes=np.asarray(CODES, order=order), scalar=np.float64(2), empty=np.zeros((0, 4)))
    stored = arrays.read_arrays(path)
    assert [(name, array.shape, array.dtype.name) for name, array in stored.items()] == [
        ("codes", (3, 5), "float32"),
        ("scalar", (), "float64"),
        ("empty", (0, 4), "float64"),
    ]
    np.testing.assert_array_equal(np.asarray(stored["codes"]), CODES)
    assert np.asarray(stored["scalar"]) == 2 and np.asarray(stored["empty"]).shape == (0, 4)


def test_any_flipped_bit_of_an_archive_is_noticed(tmp_path: Path):
    """Protects: a header that changes shape or type, or a number: the right array, or none."""
    path = tmp_path / "a.npz"
    np.savez(path, CODES)
    content, wrong = path.read_bytes(), 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            (found,) = read(path).values()
        except ValueError as error:
            assert str(path) in str(error)
            wrong += 1
        else:
            np.testing.assert_array_equal(found, CODES)
    assert wrong > 0.7 * len(content)


BROKEN = {
    "syntax": (npy(CODES).replace(b"'<f4'", b"'(2,'"), ".npy"),
    "tokens": (npy(CODES).replace(b"'<f4'", b"'''4'"), ".npy"),
    "longer than its member": (npy(CODES) + b"1234", ".npz"),
    "shorter than its member": (npy(CODES)[:-4], ".npz"),
    "objects": (npy(CODES).replace(b"'<f4'", b"'|O' "), ".npz"),
    "negative": (npy(CODES).replace(b"(3, 5)", b"(-3,5)"), ".npz"),
    "truth": (npy(CODES).replace(b"(3, 5)", b"(True)"), ".npz"),
    "version": (npy(CODES).replace(b"NUMPY\x01", b"NUMPY\x09"), ".npz"),
    "no array": (b"1 2 3", ".npz"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_arrays(case: str, tmp_path: Path):
    """Protects: whatever NumPy's reader raises, tokenizer errors too, is one line with the file's name."""
    content, suffix = BROKEN[case]
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", content)
    else:
        path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_packings_are_refused(method: int, tmp_path: Path):
    """Protects: decompressors that NumPy never uses don't see files from strangers."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("a.npy", npy(CODES))
    assert "packed in another way" in refusal(tmp_path / "a.npz")


def test_encrypted_archives_and_names_twice(tmp_path: Path):
    """Protects: one line for either."""
    path = tmp_path / "a.npz"
    np.savez(path, a=CODES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy(CODES))
    assert "the same name" in refusal(path)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def test_bombs_cost_nothing(tmp_path: Path):
    """Protects: memory and time, from small files that claim or unpack to large arrays."""
    size = 1 << 30
    header = npy(np.zeros(0, np.int8)).replace(b"(0,), }" + b" " * 9, f"({size},), }}".encode().ljust(16))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.npy", "w") as member:
            member.write(header)
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    with (tmp_path / "sparse.safetensors").open("wb") as file:
        text = f'{{"a":{{"dtype":"I8","shape":[{size}],"data_offsets":[0,{size}]}}}}'.encode()
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    before = peak()
    for path in sorted(tmp_path.iterdir()):
        assert arrays.read_arrays(path)["a" if path.suffix != ".npy" else ""].shape == (size,)
        for generator in (FFHQ, None):
            with pytest.raises(ValueError, match=r"shape \(1073741824,\) fits no space"):
                load_direction(path, generator=generator)
    assert peak() - before < 100 << 20


def test_unknown_types_of_numbers(tmp_path: Path):
    """Protects: eight-bit floats, which NumPy can't hold, are refused by name."""
    data = safetensors.numpy.save({"a": np.zeros(4, np.uint8)}).replace(b'"U8"', b'"F8_E5M2"')
    header = int.from_bytes(data[:8], "little") + len(b"F8_E5M2") - len(b"U8")
    (tmp_path / "a.safetensors").write_bytes(header.to_bytes(8, "little") + data[8:])
    assert "F8_E5M2" in refusal(tmp_path / "a.safetensors")
