"""Files that attack memory or time, read in a process of its own under the operating system's limits."""

import copy
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest
from official_pickles import Tensor
from test_weights_convert import pairs
from test_weights_convert_hostile import EMPTY_FOLDER, plain, rewritten, text


def tuple_bomb() -> bytes:
    """A dict key whose hash takes 2^60 steps."""
    return b"\x80\x02})" + b"2\x86" * 60 + b"Ns."


def list_bomb() -> bytes:
    """Lists of the same list: 2^64 values when walked."""
    return b"\x80\x02]" + b"".join(b"q\x00](h\x00h\x00e" for _ in range(64)) + b"."


def shared_stream() -> bytes:
    """One nested stream that is asked for again and again."""
    stream = pickles.stream_bytes([None] * 20_000)
    call = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R0"
    return b"\x80\x04B" + struct.pack("<I", len(stream)) + stream + b"q\x00" + call * 20_000 + b"."


def aliased_storage() -> bytes:
    """One storage of 16 MB under a thousand tensors."""
    whole = Tensor(np.zeros(1 << 22, np.float32))
    tensors = [Tensor(np.zeros(0, np.float32), strides=(1,), shape=(1 << 22,)) for _ in range(1000)]
    for tensor in tensors:
        tensor.storage = whole.storage
    return pickles.zip_bytes(tensors)


def aliased_string() -> bytes:
    """One string of Python 2 of 16 MB under a thousand arrays."""
    array = b"cnumpy.core.multiarray\n_reconstruct\nNNN\x87R(NJ\x00\x00@\x00\x85cnumpy\ndtype\nU\x02f4\x85RNh\x00tb"
    return b"\x80\x02T" + struct.pack("<i", 1 << 24) + bytes(1 << 24) + b"q\x000(" + array * 1000 + b"t."


def shared_modules() -> bytes:
    """Modules that all hold the same modules: 100^8 when walked."""
    module: Any = official.Module("Layer")
    for _ in range(8):
        parent = official.Module("Layer")
        parent.state["_modules"].update({str(i): module for i in range(100)})
        module = parent
    module.name = "Generator"
    return plain({"G_ema": module})


def copied_list() -> bytes:
    """A large list that a function of the allow-list is asked to copy again and again."""
    items = b"](" + (text("a") + b"N\x86") * 1 + b"2" * 400_000 + b"e"
    return b"\x80\x02" + items + b"q\x00" + b"ccollections\nOrderedDict\nh\x00\x85R0" * 20_000 + b"."


def called(function: str, argument: bytes, times: int) -> bytes:
    """A function of the allow-list that is called again and again with the same memoised arguments."""
    return b"\x80\x04" + argument + b"q\x000" + (f"c{function}\n".encode() + b"h\x00R0") * times + b"N."


def view(size: int) -> bytes:
    return b"B" + struct.pack("<I", size) + bytes(size)


def nested_version() -> bytes:
    """Networks whose version takes 2^60 characters to write out."""
    network = b"cdnnlib.tflib.network\nNetwork\n)\x81}" + text("version") + b")" + b"2\x86" * 60 + b"sb"
    return b"\x80\x02" + network * 3 + b"\x87."


def large_zip(count: int, record_at: int = 0) -> bytes:
    """An archive whose small directory is overruled by the record for large archives."""
    content = zip_directory(count)
    directory = content[30:-22]
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(directory), 30)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 30 + len(directory) + record_at, 1)
    return content[:-22] + record + locator + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46, 30, 0)


def one_member_for_many_storages() -> bytes:
    """The directory says of 20,000 storages that they are the same 4 MiB, whose checksum has to be computed."""
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n"
    rest = text("cpu") + b"J\x00\x00\x10\x00tQK\x00K\x01\x85K\x01\x85\x89NtR"
    names = [str(i) for i in range(20_000)]
    content = b"\x80\x02](" + b"".join(tensor + text(name) + rest for name in names) + b"e."
    file = io.BytesIO(rewritten(pickles.zip_bytes({}), {"archive/data.pkl": content, "archive/data/0": bytes(1 << 22)}))
    with zipfile.ZipFile(file, "a") as archive:
        first = archive.getinfo("archive/data/0")
        for name in names[1:]:
            member = copy.copy(first)
            member.filename = f"archive/data/{name}"
            archive.filelist.append(member)
        archive.comment = b"written anew"
    return file.getvalue()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "memo index": lambda: b"\x80\x02Nr\xff\xff\xff\xff.",
    "byte string of 2^62": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "text of 2^62": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b".",
    "frame of 2^62": lambda: b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "integer of 2^31 bytes": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f" + bytes(1000) + b".",
    "20 million opcodes": lambda: b"\x80\x02" + b"N0" * 10_000_000 + b"N.",
    "20 million marks": lambda: b"\x80\x02" + b"(" * 20_000_000 + b".",
    "a million nested lists": lambda: b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "colliding keys": lambda: b"\x80\x02}(" + b"".join(long(k * (2**61 - 1)) + b"N" for k in range(50_000)) + b"u.",
    "tuple bomb": tuple_bomb,
    "list bomb": list_bomb,
    "shared stream": shared_stream,
    "aliased storage": aliased_storage,
    "aliased string": aliased_string,
    "string of 2^31": lambda: b"\x80\x02T" + struct.pack("<i", (1 << 31) - 1) + b".",
    "copied list": copied_list,
    "copied view": lambda: called("torch\nSize", view(10_000_000) + b"\x85", 40),
    "copied tuple": lambda: called(
        "collections\nOrderedDict", b"(" + text("a") + b"N\x86" + b"2" * 200_000 + b"t\x85", 3000
    ),
    "many arguments": lambda: called("torch\ndevice", b"(" + text("a") + b"2" * 100_000 + b"t", 5000),
    "data type that is a tuple bomb": lambda: b"\x80\x02cnumpy\ndtype\n)" + b"2\x86" * 60 + b"\x85R.",
    "version that is a tuple bomb": nested_version,
    "option of 2^30 empty lists": lambda: plain(
        official.tensorflow_objects(*pairs({}), fmap_max=np.empty((1 << 30, 0), np.float32))
    ),
    "shared modules": shared_modules,
    "compressed archive": lambda: rewritten(
        pickles.zip_bytes({}), {"archive/data.pkl": bytes(1 << 28)}, zipfile.ZIP_DEFLATED
    ),
    "one member for many storages": one_member_for_many_storages,
    "a million nested tuples": lambda: b"\x80\x02N" + b"\x85" * 1_000_000 + b".",
    "long names of a state dict": lambda: pickle.dumps({f"{'a.' * 2040}{i}": None for i in range(20_000)}, protocol=4),
    "a directory of many members": lambda: zip_directory(300_000),
    "a directory of many members in the record for large archives": lambda: large_zip(300_000),
    "a record for large archives elsewhere": lambda: large_zip(10, record_at=-1),
}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from weights_convert import read_tensors
from weights_convert.__main__ import main
code = main(sys.argv[1:])
try:
    read_tensors(sys.argv[1])
except ValueError:
    pass
sys.exit(code)
"""


def long(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def zip_directory(count: int) -> bytes:
    """An archive whose directory has many members that all are the same few bytes."""
    entry = b"PK\x01\x02" + bytes(6) + bytes(18) + struct.pack("<H", 8) + bytes(16)
    directory = b"".join(entry + f"{i:08d}".encode() for i in range(count))
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HHIIH", 65535, 65535, len(directory), 30, 0)
    return b"PK\x03\x04" + bytes(26) + directory + end


LONG = ("20 million opcodes", "20 million marks", "a million nested lists", "shared stream", "aliased storage")
LONG += ("a million nested tuples", "one member for many storages", "copied list")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case in LONG else ()) for case in ATTACKS]
)
def test_attacks_on_memory_and_time(tmp_path: Path, case: str) -> None:
    """Protects: in a process of its own, limited to 2 GiB and 10 s, the command ends with its one line."""
    pytest.importorskip("resource", reason="limits of the operating system")
    source = tmp_path / "source"
    source.write_bytes(ATTACKS[case]())
    command = [sys.executable, "-c", LIMITED, str(source), str(tmp_path / "destination")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1 and not result.stdout, result.stderr[-2000:]
    assert result.stderr.startswith(f"error: {source}: ") and result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == EMPTY_FOLDER
