"""Hostile and broken files: each ends in one line and exit code 1, executes nothing, and leaves nothing behind."""

import io
import pickle
import re
import struct
import subprocess
import sys
import time
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

from weights_convert.__main__ import main

Build = Callable[[Path], bytes]
EMPTY_FOLDER = ["source"]


def text(value: str | Path) -> bytes:
    content = str(value).encode()
    return b"X" + struct.pack("<I", len(content)) + content


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def touch(canary: Path) -> bytes:
    """Arguments of os.system that would create the canary."""
    return text(f"touch {canary}") + b"\x85"


class Attack:
    """Creates the canary when the standard unpickler reads it."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


class Bomb:
    """An object of an official class whose state is an attack."""

    def __init__(self, function: Any, *args: Any):
        self.reduced = function, args

    def __reduce__(self) -> Any:
        return self.reduced


# Pickles that execute something, in every opcode style.

EXECUTING: dict[str, Build] = {
    "GLOBAL and REDUCE": lambda c: b"\x80\x02cos\nsystem\n" + touch(c) + b"R.",
    "GLOBAL and REDUCE, protocol 0": lambda c: f"cos\nsystem\n(S'touch {c}'\ntR.".encode(),
    "STACK_GLOBAL": lambda c: b"\x80\x04" + short("os") + short("system") + b"\x93" + touch(c) + b"R.",
    "dotted STACK_GLOBAL": lambda c: (
        b"\x80\x04" + short("collections") + short("abc.sys.modules") + b"\x93" + touch(c) + b"R."
    ),
    "memoised parts": lambda c: (
        b"\x80\x04" + short("os") + b"\x94" + short("system") + b"\x9400h\x00h\x01\x93" + touch(c) + b"R."
    ),
    "INST": lambda c: b"\x80\x02(" + text(f"touch {c}") + b"ios\nsystem\n.",
    "INST, protocol 0": lambda c: f"(S'touch {c}'\nios\nsystem\n.".encode(),
    "OBJ": lambda c: b"\x80\x02(cos\nsystem\n" + text(f"touch {c}") + b"o.",
    "NEWOBJ": lambda c: b"\x80\x02csubprocess\nPopen\n](" + text("touch") + text(c) + b"e\x85\x81.",
    "NEWOBJ_EX": lambda c: b"\x80\x04csubprocess\nPopen\n](" + text("touch") + text(c) + b"e\x85}\x92.",
    "EXT1": lambda c: b"\x80\x02\x82\x01" + touch(c) + b"R.",
    "BUILD": lambda c: (
        b"\x80\x02cargparse\nNamespace\n)\x81}" + text("__setstate__") + b"cos\nsystem\nsb" + text(f"touch {c}") + b"b."
    ),
    "BUILD of an allowed name": lambda c: (
        b"\x80\x02ccollections\nOrderedDict\nN}" + text("call") + b"cposix\nsystem\ns\x86b" + touch(c) + b"R."
    ),
    "PERSID": lambda c: f"P__import__('os').system('touch {c}')\n.".encode(),
    "builtins.eval": lambda c: pickle.dumps(Bomb(eval, f"open({str(c)!r}, 'w')"), protocol=4),
    "an object's own reduce": lambda c: pickle.dumps(Attack(c)),
    "getattr chain": lambda c: pickle.dumps(Bomb(getattr, dict, "fromkeys"), protocol=2),
    "numpy's own loader": lambda c: b"\x80\x02cnumpy\nload\n" + text(c) + b"\x85R.",
    "torch zip": lambda c: rewritten(pickles.zip_bytes({"g_ema": {}}), {"archive/data.pkl": EXECUTING["OBJ"](c)}),
    "torch stream": lambda c: pickles.stream_bytes({"g_ema": Attack(c)}),
    "keys of a torch stream": lambda c: pickles.stream_bytes({})[: -len(pickle.dumps([], 2))] + pickle.dumps(Attack(c)),
    "torch nested in a pickle": lambda c: nested(pickles.stream_bytes(Attack(c))),
    "attack in an unused network": lambda c: plain(official.ada_objects(*pairs({})) | {"augment_pipe": Attack(c)}),
    "attack in an unread argument": lambda c: plain(Bomb(pickles.RebuildTensor, None, 0, (), (), Attack(c))),
    "TensorFlow build function": lambda c: plain((pickles.Network(), pickles.Network(), Attack(c))),
    "persistent id": lambda c: (
        b"\x80\x02(" + text("storage") + b"cos\nsystem\n" + text("0") + text("cpu") + b"K\x01tQ."
    ),
}


def plain(content: Any) -> bytes:
    with pickles.official_modules():
        return pickle.dumps(content, protocol=4)


def nested(stream: bytes) -> bytes:
    return plain(Bomb(pickles.LoadFromBytes, stream))


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return file.getvalue()


def rewritten(archive: bytes, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with members replaced or added."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old:
        return zip_of({name: old.read(name) for name in old.namelist()} | changes, compression)


# Files that are broken, or that claim absurd things.


def generator_file(change: Callable[[dict[str, Any]], None], legacy: bool = False) -> bytes:
    """A rosinality checkpoint whose state dict was changed."""
    (params, config), _ = pairs({})
    state = official.state_dict(official.rosinality_generator(params, config))
    change(state)
    content = {"g_ema": state, "latent_avg": Tensor(params["mapping"]["w_avg"])}
    return pickles.stream_bytes(content) if legacy else pickles.zip_bytes(content)


def replaced(name: str, make: Callable[[Tensor], Any], legacy: bool = False) -> bytes:
    def change(state: dict[str, Any]) -> None:
        state[name] = make(state[name])

    return generator_file(change, legacy)


def removed(name: str) -> bytes:
    return generator_file(lambda state: state.pop(name))


def window(tensor: Tensor, **changes: Any) -> Tensor:
    """The same tensor with another offset, shape or strides."""
    for name, value in changes.items():
        setattr(tensor, name, value)
    return tensor


def tensorflow(**options: Any) -> bytes:
    return plain(official.tensorflow_objects(*pairs({}), **options))


def long_variable() -> bytes:
    """Networks with a variable of a long name, which is no key of a dict in this format."""
    network = b"cdnnlib.tflib.network\nNetwork\n)\x81}(" + text("components") + b"}" + text("variables")
    network += b"](" + text("x" * 5000) + b"N\x86eub"
    return b"\x80\x02" + network * 3 + b"\x87."


def good(kind: str) -> bytes:
    objects = {
        "tensorflow": lambda: tensorflow(),
        "ada": lambda: plain(official.ada_objects(*pairs({}))),
        "zip": lambda: generator_file(lambda state: None),
        "stream": lambda: generator_file(lambda state: None, legacy=True),
    }
    return objects[kind]()


def damaged(kind: str, at: float) -> bytes:
    content = bytearray(good(kind))
    place = int(len(content) * at)
    content[place : place + 64] = bytes(64)
    return bytes(content)


BROKEN: dict[str, Build] = {
    "empty file": lambda c: b"",
    "one byte": lambda c: b"\x80",
    "text": lambda c: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 381673535\n",
    "web page": lambda c: b"<!DOCTYPE html><html>Quota exceeded</html>",
    "random bytes": lambda c: np.random.RandomState(0).bytes(100_000),
    "a number": lambda c: pickle.dumps(5),
    "a list of nothing": lambda c: pickle.dumps([None] * 10),
    "tensorflow, truncated": lambda c: good("tensorflow")[:-1000],
    "ada, truncated": lambda c: good("ada")[: len(good("ada")) // 2],
    "ada, damaged stream": lambda c: re.sub(rb"(little_endianq.)\x88", lambda m: m[1] + b"\x89", good("ada"), count=1),
    "zip, truncated": lambda c: good("zip")[:-200],
    "zip, damaged tensor": lambda c: damaged("zip", 0.5),
    "stream, truncated": lambda c: good("stream")[:-2],
    "stream without storages": lambda c: good("stream")[:9000],
    "missing tensor": lambda c: removed("conv1.conv.weight"),
    "missing architecture": lambda c: removed("style.1.weight"),
    "extra tensor": lambda c: generator_file(lambda s: s.update(more=Tensor(np.zeros(2, np.float32)))),
    "wrong shape": lambda c: replaced("conv1.activate.bias", lambda t: Tensor(np.zeros((32, 1), np.float32))),
    "wrong type": lambda c: replaced("conv1.activate.bias", lambda t: Tensor(np.zeros(32, np.int64))),
    "long name": lambda c: generator_file(lambda s: s.update({"x" * 5000: Tensor(np.zeros(2, np.float32))})),
    "long variable": lambda c: long_variable(),
    "no tensor": lambda c: replaced("conv1.activate.bias", lambda t: [0.0] * 32),
    "object array": lambda c: pickle.dumps((np.array([Attack(c)], object),) * 3, protocol=4),
    "object array, older protocol": lambda c: pickle.dumps([np.array([[], {}], object)], protocol=2),
    "offset overflow": lambda c: replaced("conv1.activate.bias", lambda t: window(t, offset=1)),
    "offset overflow in a stream": lambda c: replaced("conv1.activate.bias", lambda t: window(t, offset=2**40), True),
    "negative offset": lambda c: replaced("conv1.activate.bias", lambda t: window(t, offset=-8)),
    "stride overflow": lambda c: replaced("conv1.activate.bias", lambda t: window(t, strides=(2**62,))),
    "negative stride": lambda c: replaced("conv1.activate.bias", lambda t: window(t, strides=(-1,))),
    "stride of text": lambda c: replaced("conv1.activate.bias", lambda t: window(t, strides=("1",))),
    "too few strides": lambda c: replaced("conv1.activate.bias", lambda t: window(t, strides=())),
    "absurd shape": lambda c: replaced("conv1.activate.bias", lambda t: window(t, shape=(2**60,), strides=(0,))),
    "more elements than the storage": lambda c: replaced(
        "style.1.weight", lambda t: window(t, strides=(0, 0), storage=ONE)
    ),
    "absurd storage": lambda c: good("stream").replace(b"K N", b"J\xff\xff\xff\x7fN"),
    "absurd resolution": lambda c: tensorflow(resolution=2**40),
    "absurd depth": lambda c: tensorflow(mapping_layers=10**9),
    "absurd width": lambda c: tensorflow(fmap_base=10**12, fmap_max=10**12),
    "option of another type": lambda c: tensorflow(fmap_max=[[[]]]),
    "zip path traversal": lambda c: rewritten(good("zip"), {"archive/../../canary": b"x"}),
    "zip absolute path": lambda c: rewritten(good("zip"), {str(c): b"x"}),
    "storage key with a path": lambda c: good("zip").replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00/", 1),
    "zip bomb": lambda c: rewritten(good("zip"), {"archive/data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED),
    "zip member of another size": lambda c: rewritten(good("zip"), {"archive/data/0": bytes(8)}),
    "zip without a pickle": lambda c: zip_of({"readme.txt": b"hello"}),
    "zip with two pickles": lambda c: rewritten(good("zip"), {"other/data.pkl": b"\x80\x02N."}),
    "big-endian zip": lambda c: rewritten(good("zip"), {"archive/byteorder": b"big"}),
    "TorchScript": lambda c: rewritten(
        good("zip"), {"archive/code/model.py": b"import os", "archive/constants.pkl": b"N."}
    ),
    "not a network": lambda c: pickles.zip_bytes({"state_dict": {"w": Tensor(np.zeros(3, np.float32))}}),
}
ONE = pickles.Storage(np.zeros(1, np.float32))


@pytest.mark.parametrize("case", [*EXECUTING, *BROKEN])
def test_one_line_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """Protects: whatever is in the file, the command ends with one line; no canary and no destination exist."""
    folder, canary = tmp_path / "work", tmp_path / "canary"
    folder.mkdir()
    source = folder / "source"
    source.write_bytes({**EXECUTING, **BROKEN}[case](canary))
    started = time.monotonic()
    assert main([str(source), str(folder / "destination")]) == 1
    assert time.monotonic() - started < 10
    out, err = capsys.readouterr()
    assert not out and err.startswith(f"error: {source}: ") and err.endswith("\n") and err[:-1].isprintable()
    assert not canary.exists() and [path.name for path in folder.iterdir()] == EMPTY_FOLDER
    if case in EXECUTING:
        assert main([str(source), "--info"]) == 1 and not canary.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Protects: this file. The standard unpickler does create the canary from what is refused above."""
    for case in ("GLOBAL and REDUCE", "STACK_GLOBAL", "INST", "OBJ", "an object's own reduce", "builtins.eval"):
        canary = tmp_path / re.sub(r"\W", "-", case)
        result = pickle.loads(EXECUTING[case](canary))  # only here, of bytes made above
        getattr(result, "close", lambda: None)()
        assert canary.exists(), case


@pytest.mark.parametrize("name", ["missing", "folder", "dangling"])
def test_paths_that_are_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Protects: a missing file, a folder and a dangling link end in one line too."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert main([str(tmp_path / name), str(tmp_path / "destination")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path / name}: ") and err.count("\n") == 1
    assert not (tmp_path / "destination").exists()


@pytest.mark.parametrize("kind", ["tensorflow", "ada", "zip", "stream"])
def test_random_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """Protects: any damaged byte gives a result or one line, never a traceback."""
    content, random = good(kind), np.random.RandomState(7)
    source = tmp_path / "source"
    for _ in range(60):
        broken = bytearray(content)
        if random.rand() < 0.2:
            del broken[random.randint(len(broken)) :]
        ends = [min(len(broken), 4000), len(broken)]
        for _ in range(random.randint(1, 4)):
            if broken:
                broken[random.randint(max(1, min(len(broken), ends[random.randint(2)])))] = random.randint(256)
        source.write_bytes(broken)
        code = main([str(source), "--info"])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "") or (code == 1 and err.startswith("error: ") and err.count("\n") == 1)


@pytest.mark.parametrize("case", ["OBJ", "an object's own reduce", "wrong shape"])
def test_as_a_real_process(tmp_path: Path, case: str) -> None:
    """Protects: `python -m weights_convert` itself: exit code, one line, no traceback, no warnings of libraries."""
    canary, source = tmp_path / "canary", tmp_path / "source"
    source.write_bytes({**EXECUTING, **BROKEN}[case](canary))
    command = [sys.executable, "-m", "weights_convert", str(source), str(tmp_path / "destination")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.startswith(f"error: {source}: ") and result.stderr.count("\n") == 1, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == EMPTY_FOLDER


@pytest.mark.parametrize("arguments", [[], ["x"], ["x", "y", "--info"], ["x", "y", "--network", "E"], ["x", "--no"]])
def test_usage_errors(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Protects: wrong arguments end in one line and exit code 1 as well."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and err.count("\n") == 1


def test_reader_of_a_pipe_that_leaves(tmp_path: Path) -> None:
    """Protects: `... --info | head` ends without a traceback."""
    source = tmp_path / "source"
    source.write_bytes(good("zip"))
    command = [sys.executable, "-m", "weights_convert", str(source), "--info"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 1
    process.stderr.close()
