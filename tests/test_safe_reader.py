"""The safe reader: what it reads it reads exactly, and what it does not know it refuses."""

import argparse
import copyreg
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import official_pickles as pickles
import pytest
from official_pickles import Tensor

from weights_convert import ConversionError, read_tensors, stored_tensors
from weights_convert.unpickle import Budget


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
@pytest.mark.parametrize("dtype", [name for name in pickles.STORAGES if name != "uint16"])
def test_every_storage_type_keeps_its_numbers(tmp_path: Path, dtype: str, legacy: bool) -> None:
    """Protects: the table of storage types and both containers."""
    array = (np.arange(-6, 6).reshape(3, 4) % 100).astype(dtype)
    read = read_tensors(pickles.torch_save(tmp_path / "x.pt", {"x": Tensor(array)}, legacy=legacy))["x"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    """Protects: bfloat16, which numpy does not have, is widened and not misread as integers."""
    values = np.array([1, -2.5, 0.15625, 3e38], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    read = read_tensors(pickles.torch_save(tmp_path / "x.pt", Tensor(bits)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read.view(np.uint32) >> 16, bits)
    np.testing.assert_allclose(read, values, rtol=2**-7)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
def test_strides_and_offsets(tmp_path: Path, legacy: bool) -> None:
    """Protects: transposed, sliced, broadcast-free views and storages shared by several tensors."""
    base = np.arange(24, dtype=np.float32)
    whole = Tensor(base)
    column = Tensor(base, strides=(4,), offset=1, shape=(6,))
    transposed = Tensor(base, strides=(1, 6), shape=(6, 4))
    column.storage = transposed.storage = whole.storage
    content = [whole, column, transposed, Tensor(np.float32(7)), Tensor(np.zeros((0, 3), np.float32))]
    read = read_tensors(pickles.torch_save(tmp_path / "x.pt", content, legacy=legacy))
    np.testing.assert_array_equal(read[1], base[1::4])
    np.testing.assert_array_equal(read[2], base.reshape(4, 6).T)
    assert read[3] == 7 and read[3].shape == () and read[4].shape == (0, 3)
    assert all(array.flags.c_contiguous and array.flags.owndata for array in read[1:3])


def test_containers_and_objects(tmp_path: Path) -> None:
    """Protects: what training checkpoints hold beside tensors arrives as plain data."""
    content = OrderedDict(
        a=[1, (2.5, None, True)], args=argparse.Namespace(size=256, path="x"), names={"u", "v"}, big=2**70
    )
    read = read_tensors(pickles.torch_save(tmp_path / "x.pt", content))
    assert read == {"a": [1, (2.5, None, True)], "args": {"size": 256, "path": "x"}, "names": {"u", "v"}, "big": 2**70}
    assert type(read) is dict


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_in_pickles(tmp_path: Path, protocol: int) -> None:
    """Protects: numpy arrays of every pickle protocol, big-endian and Fortran order among them."""
    arrays = [
        np.arange(6, dtype=">i4"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.float32(0.5),
        np.array([True]),
    ]
    read = read_tensors(write(tmp_path / "x.pkl", pickle.dumps(arrays, protocol=protocol)))
    for one, other in zip(read, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.asarray(other).dtype.newbyteorder("=")


def string(value: bytes) -> bytes:
    """Of Python 2: text or bytes."""
    return b"T" + struct.pack("<i", len(value)) + value


def test_arrays_of_python_2_are_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: arrays that Python 2 wrote as strings, of any size; what could be text is limited as all text is."""
    monkeypatch.setattr("weights_convert.files.Budget", lambda: Budget(text=20_000))
    arrays = {"short": np.arange(3.0), "long": np.arange(513.0), "large": np.arange(100_000, dtype=np.float32)}
    arrays |= {"big": np.asarray([[1, -2], [3, 4]], "<i2"), "edge": np.arange(512.0)}
    path = pickles.python2_pickled(tmp_path / "x.pkl", arrays)
    for name, array in read_tensors(path).items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
    assert read_tensors(write(path, b"\x80\x02]" + string(b"\xe4") + b"a" + string(b"a" * 4096) + b"a.")) == [
        "ä",
        "a" * 4096,
    ]
    for content in (text("a" * 20_001), (b"(" + string(b"a" * 4096) * 5 + b"t")):
        with pytest.raises(ConversionError, match="MiB of text"):
            read_tensors(write(path, b"\x80\x02" + content + b"."))


def test_real_direction_files(fixtures: Path) -> None:
    """Protects: files written by real PyTorch versions, both containers."""
    shapes = {"age": (1, 512), "smile": (1, 512), "pose": (1, 18, 512)}
    for name, shape in shapes.items():
        direction = read_tensors(fixtures / "e4e" / f"{name}.pt")
        assert direction.shape == shape and np.isfinite(direction).all() and np.ptp(direction) > 0
    components = read_tensors(fixtures / "e4e" / "ffhq_pca.pt")
    assert components["comp"].shape == (80, 1, 512)
    products = components["comp"][:, 0] @ components["comp"][:, 0].T
    np.testing.assert_allclose(products, np.eye(80), atol=1e-4)
    assert components["std"][0] > components["std"][-1] > 0


@pytest.mark.parametrize("name, widths", [("alex", [64, 192, 384, 256, 256]), ("vgg", [64, 128, 256, 512, 512])])
def test_real_legacy_streams(fixtures: Path, name: str, widths: list[int]) -> None:
    """Protects: real files of PyTorch's old stream."""
    heads = read_tensors(fixtures / "lpips" / f"{name}.pth")
    assert [heads[f"lin{i}.model.1.weight"].shape for i in range(5)] == [(1, width, 1, 1) for width in widths]
    assert all((head >= 0).all() and head.any() for head in heads.values())


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DICT = b"ccollections\nOrderedDict\n"
NAMESPACE = b"cargparse\nNamespace\n"
FLOAT = b"cnumpy\ndtype\n" + text("f4") + b"\x85R"
TENSOR = (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0")) + (
    text("cpu") + b"K\x01tQ"
)  # and its first argument
STREAM = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
REFUSED = {
    "an unknown name": (b"\x80\x02cos\nsystem\n.", "os.system"),
    "a name with dots": (b"\x80\x04" + text("collections") + text("OrderedDict.clear") + b"\x93.", "OrderedDict.clear"),
    "an extension code": (b"\x80\x02\x82\xf0.", "opcode"),
    "an unknown persistent id": (b"\x80\x02" + text("x") + b"Q.", "outside itself"),
    "a text persistent id": (b"\x80\x02Px\n.", "opcode"),
    "a call of data": (b"\x80\x02])R.", "not a known function"),
    "a call of a class that is only mentioned": (b"\x80\x02cnumpy\nndarray\n)R.", "not a known function"),
    "arguments that do not fit": (b"\x80\x02" + DICT + b"K\x05\x85R.", "malformed"),
    "an object with keywords": (b"\x80\x04" + DICT + b")}" + text("x") + b"K\x01s\x92.", "keywords"),
    "attributes of a name": (b"\x80\x02" + DICT + b"}" + text("call") + b"Nsb.", "attributes"),
    "slots of an object": (b"\x80\x02" + NAMESPACE + b")\x81N}" + text("kind") + b"Ns\x86b.", "state"),
    "a second state": (b"\x80\x02" + NAMESPACE + b")\x81" + 2 * (b"}" + text("a") + b"Nsb") + b".", "state"),
    "items of an object": (b"\x80\x02" + NAMESPACE + b")\x81" + text("a") + b"Ns.", "malformed"),
    "a tuple as a key": (b"\x80\x02})Ns.", "key"),
    "an object array": (pickle.dumps(np.array([{}], object), protocol=4), "Python objects"),
    "a structured array": (pickle.dumps(np.zeros(2, "f4,i4"), protocol=4), "data type"),
    "a text array": (pickle.dumps(np.array(["abc"]), protocol=4), "data type"),
    "an endless list": (b"\x80\x02]q\x00h\x00a.", "levels"),
    "an empty stack": (b"\x80\x020.", "malformed"),
    "an empty stack at the end": (b"\x80\x02.", "malformed"),
    "17 arguments": (b"\x80\x02ctorch\ndevice\n(" + b"N" * 17 + b"tR.", "arguments"),
    "a size of 17 numbers": (b"\x80\x02ctorch\nSize\n(" + b"K\x01" * 17 + b"t\x85R.", "malformed"),
    "a size of bytes": (b"\x80\x03ctorch\nSize\nC\x02ab\x85R.", "malformed"),
    "a set of bytes": (b"\x80\x03cbuiltins\nset\nC\x02ab\x85R.", "malformed"),
    "a shape of bytes": (STREAM + b"\x80\x03" + TENSOR + b"K\x00C\x02abC\x02abtR.", "whole numbers"),
    "a long key": (b"\x80\x02}" + text("k" * 5000) + b"Ns.", "4096 characters"),
    "a long key of a function": (b"\x80\x02" + DICT + b"]" + text("k" * 5000) + b"N\x86a\x85R.", "4096 characters"),
    "a long element of a set": (b"\x80\x02cbuiltins\nset\n]" + text("k" * 5000) + b"a\x85R.", "4096 characters"),
    "text that is encoded again and again": (
        (b"\x80\x02" + text("x" * 1_000_000) + b"q\x000" + FLOAT + b"q\x010")
        + b"cnumpy.core.multiarray\n_reconstruct\nNNN\x87R(NK\x01\x85h\x01Nh\x00tb0" * 200
        + b"N.",
        "MiB of text",
    ),
    "short strings that are encoded again and again": (
        (b"\x80\x02" + string(b"x" * 4096) + b"q\x000" + FLOAT + b"q\x010")
        + b"cnumpy.core.multiarray\n_reconstruct\nNNN\x87R(NM\x00\x04\x85h\x01Nh\x00tb0" * 40_000
        + b"N.",
        "MiB of text",
    ),
    "a string of a negative length": (b"\x80\x02T\xff\xff\xff\xff.", "truncated"),
    "a long string as a key": (b"\x80\x02}" + string(b"k" * 4097) + b"Ns.", "as a key"),
    "a long string as a name": (b"\x80\x02cnumpy\ndtype\n" + string(b"f" * 4097) + b"\x85R.", "data type"),
    "no end": (b"\x80\x02]", "truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    """Protects: each way a pickle can ask for more than data ends in one line that names the file."""
    content, message = REFUSED[case]
    path = write(tmp_path / "x.pt", content)
    with pytest.raises(ConversionError, match=message) as error:
        read_tensors(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_byte_strings_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a byte string that the file holds once and mentions often is not copied without limit."""
    monkeypatch.setattr("weights_convert.values.MAX_BYTES", 1000)
    content = b"\x80\x03](C\xc8" + bytes(200) + b"q\x00" + b"%e."
    assert len(read_tensors(write(tmp_path / "x.pkl", content.replace(b"%", b"h\x00" * 4)))) == 5
    with pytest.raises(ConversionError, match="byte strings"):
        read_tensors(write(tmp_path / "y.pkl", content.replace(b"%", b"h\x00" * 5)))


def expanded(array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    return Tensor(array, strides=strides, shape=shape)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
def test_expanded_tensors(tmp_path: Path, legacy: bool) -> None:
    """Protects: what PyTorch's `expand` saves, a W direction repeated to W+ say, is read; bfloat16 too."""
    row = np.arange(4, dtype=np.float32)
    halves = (row.view(np.uint32) >> 16).astype(np.uint16)
    content = [expanded(row, (3, 4), (0, 1)), expanded(halves, (2, 1, 4), (0, 7, 1))]
    read = read_tensors(pickles.torch_save(tmp_path / "x.pt", content, legacy=legacy))
    np.testing.assert_array_equal(read[0], np.tile(row, (3, 1)))
    np.testing.assert_array_equal(read[1], np.tile(row, (2, 1, 1)))


def test_tensors_stay_within_the_file(tmp_path: Path) -> None:
    """Protects: memory. Numbers are repeated to at most 1 GiB, and no window reads any of them more than once."""
    row = np.arange(7, dtype=np.float32)
    content = {
        "repeated": expanded(row, (1 << 40, 7), (0, 1)),
        "just too large": expanded(row, ((1 << 28) // 4 + 1, 4), (0, 1)),
        "bfloat16": expanded(row.astype(np.uint16), ((1 << 28) // 4 + 1, 4), (0, 1)),
        "overlapping": expanded(row, (4, 4), (1, 1)),
        "overlapping and repeated": expanded(row, (2, 4, 4), (0, 1, 1)),
    }
    stored = stored_tensors(pickles.torch_save(tmp_path / "x.pt", content))
    for name in content:
        with pytest.raises(ConversionError, match="does not fit" if "overlapping" in name else "1 GiB"):
            stored[name].numpy()


STORED = {
    "tensor": (lambda t: t, [""]),
    "list": (lambda t: [t, t], ["0", "1"]),
    "tuple": (lambda t: (t,), ["0"]),
    "dict": (lambda t: {"a": t, 7: t}, ["a", "7"]),
    "nothing": (lambda t: [], []),
}


@pytest.mark.parametrize("case", STORED)
@pytest.mark.parametrize("legacy", [False, True, None], ids=["zip", "stream", "pickle"])
def test_stored_tensors(tmp_path: Path, case: str, legacy: bool | None) -> None:
    """Protects: names, shapes and types are known before any number is read, and the numbers come when asked for."""
    make, names = STORED[case]
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    path = tmp_path / "x.pt"
    if legacy is None:
        path.write_bytes(pickle.dumps(make(array), protocol=4))
    else:
        pickles.torch_save(path, make(Tensor(array)), legacy=legacy)
    stored = stored_tensors(path)
    assert list(stored) == names
    for tensor in stored.values():
        assert tensor.shape == (2, 3) and tensor.dtype == "float16"
        np.testing.assert_array_equal(tensor.numpy(), array)


OTHERS = [5, None, "text", {"a": 1.0}, [[1.0]], {"a": {"b": np.zeros(2)}}, [[np.zeros(2)]], {1, 2}]


@pytest.mark.parametrize("content", OTHERS, ids=repr)
def test_stored_tensors_refuses_other_content(tmp_path: Path, content: object) -> None:
    """Protects: nothing that is no tensor is left out in silence."""
    path = write(tmp_path / "x.pkl", pickle.dumps(content, protocol=4))
    with pytest.raises(ConversionError) as error:
        stored_tensors(path)
    assert str(error.value) == f"{path}: holds other things than a tensor, or a list or dict of tensors"


def test_stored_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    """Protects: the keys 1 and "1" are not one tensor."""
    path = write(tmp_path / "x.pkl", pickle.dumps({1: np.zeros(2), "1": np.ones(2)}, protocol=4))
    with pytest.raises(ConversionError, match="two tensors of one name"):
        stored_tensors(path)


def test_damage_is_found_when_the_numbers_are_read(tmp_path: Path) -> None:
    """Protects: the error of `numpy()`, which comes later, names the file too."""
    path = pickles.torch_save(tmp_path / "x.pt", {"a": Tensor(np.ones(4, np.float32)), "b": Tensor(np.zeros(4))})
    write(path, path.read_bytes().replace(np.ones(4, np.float32).tobytes(), np.ones(4, np.int32).tobytes()))
    stored = stored_tensors(path)
    assert stored["a"].shape == (4,) and not stored["b"].numpy().any()
    with pytest.raises(ConversionError) as error:
        stored["a"].numpy()
    assert str(error.value).startswith(f"{path}: storage 0 does not have the checksum")


def test_extension_registry_is_not_consulted(tmp_path: Path) -> None:
    """Protects: names that other libraries registered as extension codes stay out of reach."""
    copyreg.add_extension("os", "system", 0xF1)
    try:
        with pytest.raises(ConversionError):
            read_tensors(write(tmp_path / "x.pt", b"\x80\x02\x82\xf1X\x04\x00\x00\x00true\x85R."))
    finally:
        copyreg.remove_extension("os", "system", 0xF1)


def test_messages_have_no_control_characters(tmp_path: Path) -> None:
    """Protects: a file cannot write escape sequences or more lines to the terminal."""
    name = "\x1b[2J\nerror: all is well" + "x" * 5000
    with pytest.raises(ConversionError) as error:
        read_tensors(write(tmp_path / "x.pt", b"\x80\x04" + text("os") + text(name) + b"\x93."))
    message = str(error.value).removeprefix(str(tmp_path))
    assert message.isprintable() and len(message) < 1000


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    """Protects: repeated reading gives independent arrays, and the file can be removed afterwards."""
    path = pickles.torch_save(tmp_path / "x.pt", Tensor(np.zeros(4, np.float32)))
    one, other = read_tensors(path), read_tensors(path)
    path.unlink()
    one += 1
    np.testing.assert_array_equal(other, np.zeros(4))
