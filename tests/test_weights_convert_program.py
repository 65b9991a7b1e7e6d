"""`python -m weights_convert` as a process: how it ends when interrupted or when writing fails, and what it prints."""

import errno
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import official_formats as official
import pytest
from test_weights_convert import pairs

from jaxedit import checkpoints
from weights_convert import ConversionError, convert, files, read_tensors
from weights_convert.__main__ import main
from weights_convert.errors import printable

COMMAND = [sys.executable, "-m", "weights_convert"]
ENDS = {signal.SIGINT: (130, "error: interrupted\n"), signal.SIGTERM: (143, "error: terminated\n")}
# Runs the command with another `checkpoints.save`, which has to be in the middle of its work when a signal comes.
PROGRAM = """
import atexit, os, runpy, signal, tempfile
from pathlib import Path
from jaxedit import checkpoints

def save(path, **_):
    with tempfile.TemporaryDirectory(prefix=f".{{path.name}}.", dir=path.parent) as temporary:
        partial = Path(temporary) / "checkpoint"
        partial.mkdir()
        {signals}
        (partial / "params").write_text("numbers")
        os.rename(partial, path)
        {signals_after}

checkpoints.save = save
runpy.run_module("weights_convert", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.write_rosinality(tmp_path_factory.mktemp("source") / "source.pt", *pairs({}))


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("after", [0.4, 0.9])
def test_signals_while_reading(tmp_path: Path, source: Path, number: signal.Signals, after: float) -> None:
    """Protects: an interrupted conversion says so in one line, without a traceback, and leaves nothing behind."""
    process = subprocess.Popen([*COMMAND, source, tmp_path / "G"], stdout=-1, stderr=-1, text=True)
    time.sleep(after)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if process.returncode:
        assert (process.returncode, err, out, list(tmp_path.iterdir())) == (*ENDS[number], "", [])
    else:  # it was quick
        assert not err and [path.name for path in tmp_path.iterdir()] == ["G"]


KILL = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    "signals, after", [(KILL, ""), (f"{KILL}; {KILL}", ""), ("", KILL)], ids=["writing", "twice", "at the end"]
)
def test_signals_while_writing(tmp_path: Path, source: Path, signals: str, after: str) -> None:
    """Protects: neither a temporary folder nor a finished one stays behind, whenever the signal comes."""
    program = PROGRAM.format(signals=signals, signals_after=after)
    command = [sys.executable, "-c", program, source, tmp_path / "G"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr, result.stdout) == (130, "error: interrupted\n", "")
    assert not list(tmp_path.iterdir())


def test_a_signal_that_is_too_late(tmp_path: Path, source: Path) -> None:
    """Protects: what has been reported as written stays."""
    program = PROGRAM.format(signals=f"atexit.register(lambda: {KILL})", signals_after="")
    command = [sys.executable, "-c", program, source, tmp_path / "G"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and not result.stderr and f"wrote {tmp_path / 'G'}" in result.stdout
    assert (tmp_path / "G" / "params").exists()


def test_ignored_signals_stay_ignored(tmp_path: Path, source: Path) -> None:
    """Protects: `nohup python -m weights_convert ...` survives the terminal."""
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, source, tmp_path / "G"]
    process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    time.sleep(0.6)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and not err and (tmp_path / "G").exists()


def test_success_is_said_after_writing(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: nothing is reported as written that has not been; a full disk names the folder, not the source."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / ".G.x" / "params"))

    monkeypatch.setattr(checkpoints, "save", full)
    assert main([str(source), str(tmp_path / "G")]) == 1
    assert capsys.readouterr() == ("", f"error: {tmp_path / 'G'}: {os.strerror(errno.ENOSPC)}\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_full_standard_output(source: Path) -> None:
    """Protects: the error names what is full, and nothing follows it."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*COMMAND, source, "--info"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (result.returncode, result.stderr) == (1, f"error: standard output: {os.strerror(errno.ENOSPC)}\n")


def test_names_that_the_terminal_cannot_show(tmp_path: Path, source: Path) -> None:
    """Protects: a file name with a line break, an escape sequence or stray bytes is printed escaped."""
    copy = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\x1b[2J\xff\xc3\xa9.pt"))
    copy.write_bytes(source.read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, copy, "--info"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.startswith(f"{tmp_path}/a\\nb\\x1b[2J\\udcff\\xe9.pt: rosinality")


FAULTS = [TypeError("x"), KeyError("x"), struct.error("x"), zlib.error("x"), UnicodeError("x"), RecursionError("x")]
FAULTS += [OverflowError("x"), ZeroDivisionError("x"), NotImplementedError("x"), ValueError("x"), MemoryError()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_goes_wrong_is_an_error_about_the_file(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Protects: users see ConversionError or OSError with the file's name, whichever kind of error reading raises."""

    def read(_: Any) -> Any:
        raise fault

    monkeypatch.setattr(files, "read", read)
    for call in (read_tensors, lambda path: convert(path, tmp_path / "G")):
        with pytest.raises(ConversionError) as error:
            call(source)
        assert str(error.value).startswith(f"{source}: ") and type(error.value.__cause__) is type(fault)


def test_errors_of_reading_name_the_source(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: what the system reports without a name, a failing disk or too little memory, names the file."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("mmap.mmap", fail)
    for call in (read_tensors, lambda path: convert(path, tmp_path / "G")):
        with pytest.raises(OSError) as error:
            call(source)
        assert (error.value.errno, error.value.filename) == (errno.EIO, str(source))


def test_messages_are_bounded_and_keep_both_ends(tmp_path: Path) -> None:
    """Protects: neither a long message nor a long path pushes the other out of the line."""
    folder = tmp_path
    while len(str(folder)) < 3000:
        folder = folder / ("d" * 200)
        folder.mkdir()
    source = folder / "x.pt"
    source.write_bytes(b"\x80\x02}X\x88\x13\x00\x00" + b"k" * 5000 + b"Ns.")
    with pytest.raises(ConversionError) as error:
        read_tensors(source)
    assert str(error.value) == f"{source}: the pickle has a key of more than 4096 characters"
    assert len(printable("\0" * 10_000, 500)) <= 503


def test_help_says_which_formats_have_no_checksums() -> None:
    """Protects: users of pickles and old .pt files know that damage may go unnoticed, and what to compare."""
    result = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    text = " ".join(result.stdout.split())
    assert result.returncode == 0 and "Pickles and older .pt files have no checksums" in text and "SHA-256" in text
