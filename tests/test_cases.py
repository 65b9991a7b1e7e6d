"""Files that users reported, each through the command that read it wrong: the right result, or one line."""

from pathlib import Path

import numpy as np
import pytest
from untrained import untrained

from jaxedit import checkpoints, cli
from jaxedit.generators.stylegan2 import StyleGAN2Config

REFUSED_DIRECTIONS = {
    "bomb_i1.npz": "fits no space of this generator",
    "npy_syntaxerror.npy": "not a readable .npy file",
    "npz_lzma.npz": "packed in another way than numpy does",
    "npz_onebit.npz": "not a readable .npz file",
}
REFUSED_MASKS = {
    "damaged/mask_bomb.png": "10000000000 pixels",
    "damaged/mask_is_eps.png": "no PNG, JPEG or WebP image",
    "masks/black.png": "no pixel may change",
    "masks/zero_one.png": "no pixel may change",
    "masks/shape_in_alpha.png": "parts are transparent",
}


def refused(capsys: pytest.CaptureFixture[str], output: Path, *arguments: object) -> str:
    """The one line with which a command ends that has written nothing."""
    capsys.readouterr()
    assert cli.main([*map(str, arguments), "--output", str(output)]) == 1
    shown = capsys.readouterr()
    assert not output.exists() and shown.err.count("\n") == 1 and shown.err.startswith("error: ") and not shown.out
    return shown.err


@pytest.mark.parametrize("name", REFUSED_DIRECTIONS)
def test_damaged_directions(name: str, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: bombs, flipped bits and what NumPy's and zip's readers raise end in one line, with the file's name."""
    command = ("edit", "avatars", "--seeds", "0", "--direction", cases / "damaged" / name)
    line = refused(capsys, tmp_path / "out", *command)
    assert name in line and REFUSED_DIRECTIONS[name] in line


def test_an_archive_with_a_flipped_bit_is_no_latents_either(cases: Path, tmp_path: Path, capsys):
    """Protects: numbers that were shifted by two bytes, or codes that were dropped."""
    config = StyleGAN2Config(channel_base=1024, channel_max=1, mapping_layers=1)
    checkpoints.save(tmp_path / "g", params=untrained(config), config=config, metadata={})
    np.save(tmp_path / "d.npy", np.ones(512, np.float32))
    damaged = cases / "damaged" / "npz_onebit.npz"
    command = ("edit", tmp_path / "g", "--latents", damaged, "--direction", tmp_path / "d.npy")
    assert "npz_onebit.npz" in refused(capsys, tmp_path / "out", *command)


@pytest.mark.parametrize("name", REFUSED_MASKS)
def test_masks(name: str, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: no mask starts a program, fills the memory, or means nothing without a word."""
    command = ("intervene", "avatars", "--seeds", "0", "--attribute", "smile", "--mask", cases / name)
    line = refused(capsys, tmp_path / "out", *command)
    assert Path(name).name in line and REFUSED_MASKS[name] in line


def test_a_network_without_an_end(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a configuration of a million blocks is refused before it is traced."""
    command = ("intervene", "avatars", "--seeds", "0", "--attribute", "smile", "--parser")
    line = refused(capsys, tmp_path / "out", *command, cases / "damaged" / "network_blocks_hang.safetensors")
    assert "1048576 blocks" in line


def test_escape_codes_in_a_name(cases: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: the terminal, from what a file's metadata say."""
    assert cli.main(["info", str(cases / "damaged" / "escape_codes.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert "source: \\x1b]0;owned\\x07\\x1b[2J\\nfake line\n" in shown and "\x1b" not in shown
