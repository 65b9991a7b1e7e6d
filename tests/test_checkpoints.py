"""jaxedit.checkpoints: what is saved is loaded; nothing half-written appears; nothing hostile or wrong is taken."""

import copy
import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jaxedit
from jaxedit import checkpoints, families
from jaxedit.checkpoints import CheckpointError
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

CONFIGS: dict[str, Any] = {
    "generator": StyleGAN2Config(resolution=8, z_dim=4, w_dim=6, channel_base=32, channel_max=8, mapping_layers=1),
    "discriminator": DiscriminatorConfig(resolution=8, channel_base=32, channel_max=8, mbstd_group_size=None),
}
FAMILIES = {"generator": "stylegan2", "discriminator": "stylegan2_discriminator"}
LOADERS: dict[str, Callable[[Any], Any]] = {"generator": jaxedit.load, "discriminator": jaxedit.load_discriminator}
METADATA = {"source": "made up", "sha256": "0" * 64, "nested": {"list": [1, None, "ü"]}}
both_networks = pytest.mark.parametrize("network", CONFIGS)


def draw(network: str) -> Any:
    """Numbers whose bits are easily lost: subnormal, signed zero, infinite, large."""
    generator = np.random.default_rng(0)

    def leaf(target: Any) -> np.ndarray:
        values = np.asarray(generator.standard_normal(target.shape), np.float32).reshape(-1)
        values[: len(ODD)] = ODD[: values.size]
        return values.reshape(target.shape)

    return jax.tree.map(leaf, families.abstract_params(CONFIGS[network]))


ODD = np.array([1e-42, -0.0, np.inf, 3.4e38], np.float32)


def save(path: Any, network: str = "generator", **changes: Any) -> None:
    given = {"params": draw(network), "config": CONFIGS[network], "metadata": METADATA}
    checkpoints.save(path, **{**given, **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each network, not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    for network in CONFIGS:
        save(folder / network, network)
    return folder


@pytest.fixture
def damaged(saved: Path, tmp_path: Path) -> Path:
    """A generator to damage."""
    return Path(shutil.copytree(saved / "generator", tmp_path / "some checkpoint"))


def refuse(path: Path, *, kind: type[Exception] = CheckpointError, load: Any = jaxedit.load) -> str:
    """The message of the error, one line of bearable length that begins with the path."""
    with pytest.raises(kind) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith(f"{path.absolute()}: ") and message.isprintable() and len(message) < 2000
    return message.removeprefix(f"{path.absolute()}: ")


def bits(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (np.asarray(leaf).dtype, leaf.shape, np.asarray(leaf).tobytes()), tree)


# Round trip.


@both_networks
def test_round_trip_keeps_every_bit(network: str, saved: Path):
    """Protects: the numbers, the configuration, the fingerprint and the description."""
    loaded = LOADERS[network](saved / network)
    assert bits(loaded.params) == bits(draw(network))
    assert loaded.config == CONFIGS[network]
    assert checkpoints.read_description(saved / network)[:3] == (FAMILIES[network], CONFIGS[network], METADATA)
    if network == "generator":
        assert loaded.fingerprint == checkpoints.fingerprint(draw(network))
    assert not any(leaf.committed for leaf in jax.tree.leaves(loaded.params))


def test_relative_paths_and_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: paths as people type them; missing folders above are made; the files are where they are promised."""
    monkeypatch.chdir(tmp_path)
    save("new/folder/tiny")
    assert bits(jaxedit.load("new/folder/tiny").params) == bits(draw("generator"))
    assert jaxedit.load(Path("new/../new/folder/tiny/")).config == CONFIGS["generator"]
    assert sorted(os.listdir("new/folder")) == ["tiny"]
    assert sorted(os.listdir("new/folder/tiny")) == ["config.json", "metadata.json", "params.safetensors"]
    description = json.loads(Path("new/folder/tiny/config.json").read_text(encoding="utf-8"))
    assert description["family"] == "stylegan2"


def test_a_checkpoint_can_be_moved(saved: Path, tmp_path: Path):
    """Protects: no absolute path is stored."""
    moved = shutil.copytree(saved / "generator", tmp_path / "elsewhere" / "renamed")
    assert bits(jaxedit.load(moved).params) == bits(draw("generator"))


def test_the_fingerprint_is_of_the_weights(tmp_path: Path):
    """Protects: directions for the same weights from another file, whose noise maps and average w may be others."""
    same, other = draw("generator"), draw("generator")
    same["synthesis"]["b8"]["conv0"]["noise_const"] = np.ones((8, 8), np.float32)
    same["mapping"]["w_avg"] = np.ones(6, np.float32)
    other["synthesis"]["b8"]["conv0"]["bias"] += 1
    assert checkpoints.fingerprint(same) == checkpoints.fingerprint(draw("generator"))
    assert checkpoints.fingerprint(other) != checkpoints.fingerprint(same)


def test_a_loaded_generator_joins_a_sharded_batch(saved: Path):
    """Protects: parameters that are committed to no device, so that data anywhere decide where the work is done."""
    mesh = Mesh(np.array(jax.devices()), ("batch",), axis_types=(AxisType.Auto,))
    ws = jax.device_put(np.zeros((8, 6), np.float32), NamedSharding(mesh, PartitionSpec("batch")))
    styles = jax.jit(jax.vmap(lambda generator, w: generator.styles(w)[0], (None, 0)))
    assert styles(jaxedit.load(saved / "generator"), ws).sharding.device_set == set(jax.devices())


# Atomic and strict saving.


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_while_saving_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException):
    """Protects: no half a checkpoint, and no temporary folder, when the disk is full or the user stops it."""

    def fail(path: Any, _: Any) -> None:
        path.with_name("partial").write_text("x")
        raise error

    monkeypatch.setattr(checkpoints, "write_verified", fail)
    with pytest.raises(type(error)):
        save(tmp_path / "tiny")
    assert os.listdir(tmp_path) == []


def test_a_destination_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: two processes that save to one place: the slower one neither replaces nor fills the other's folder."""
    write = checkpoints._write_json

    def race(path: Path, content: Any) -> None:
        write(path, content)
        (tmp_path / "tiny").mkdir(exist_ok=True)
        (tmp_path / "tiny" / "other").write_text("theirs")

    monkeypatch.setattr(checkpoints, "_write_json", race)
    with pytest.raises(OSError, match="tiny"):
        save(tmp_path / "tiny")
    assert os.listdir(tmp_path) == ["tiny"] and os.listdir(tmp_path / "tiny") == ["other"]


def test_metadata_that_is_no_json_leaves_nothing(tmp_path: Path):
    """Protects: the same for a mistake of the caller."""
    with pytest.raises(TypeError):
        save(tmp_path / "tiny", metadata={"when": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "empty folder", "checkpoint"])
def test_an_existing_destination_is_refused_and_kept(kind: str, tmp_path: Path, saved: Path):
    """Protects: other people's files."""
    path = tmp_path / "taken"
    if kind == "file":
        path.write_text("precious")
    elif kind == "empty folder":
        path.mkdir()
    else:
        shutil.copytree(saved / "discriminator", path)
    before = sorted(path.rglob("*"))
    with pytest.raises(FileExistsError, match="already exists; choose another destination") as raised:
        save(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
    assert sorted(path.rglob("*")) == before and os.listdir(tmp_path) == ["taken"]


def misfits() -> Any:
    """Missing, unexpected and misshapen at once."""
    params = draw("generator")
    del params["mapping"]["fc0"]["bias"]
    params["synthesis"]["b8"]["conv2"] = {"kernel": np.zeros((1, 2), np.float32)}
    params["synthesis"]["const"] = np.zeros((4, 4, 9), np.float32)
    return params


ALL_MISFITS = (
    "missing mapping/fc0/bias (6,); unexpected synthesis/b8/conv2/kernel (1, 2); "
    "synthesis/const is (4, 4, 9), expected (4, 4, 8)"
)


def test_saving_refuses_parameters_that_do_not_fit(tmp_path: Path):
    """Protects: a checkpoint always fits its own configuration; all problems in one line."""
    message = refuse(tmp_path / "tiny", load=lambda path: save(path, params=misfits()))
    assert message == f"the parameters do not fit the configuration: {ALL_MISFITS}"
    assert os.listdir(tmp_path) == []


def test_a_long_list_of_problems_is_cut(tmp_path: Path):
    """Protects: one line that can be read, with the number of problems left out."""
    count = len(jax.tree.leaves(draw("generator")))
    message = refuse(tmp_path / "tiny", load=lambda path: save(path, params={}))
    assert message.count("missing") == 8 and message.endswith(f"; and {count - 8} more")


# Strict loading.


def test_loading_refuses_parameters_that_do_not_fit(damaged: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: names and shapes in both directions, whatever wrote the file."""
    shutil.rmtree(damaged)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "mismatches", lambda *_: [])
        save(damaged, params=misfits())
    assert refuse(damaged) == f"the parameters do not fit config.json: {ALL_MISFITS}"


@both_networks
def test_loading_the_wrong_kind(network: str, saved: Path):
    """Protects: a discriminator is not taken for a generator, nor the other way round."""
    (other,) = set(CONFIGS) - {network}
    assert refuse(saved / network, load=LOADERS[other]) == f"holds a {network} ({FAMILIES[network]}), not a {other}"
    expected = f"holds a {network} ({FAMILIES[network]}), not a network"
    assert refuse(saved / network, load=checkpoints.load_network) == expected


@both_networks
def test_descriptions_as_they_were_written_at_first(network: str, saved: Path, tmp_path: Path):
    """Protects: checkpoints from before discriminators were a family of their own."""
    path = Path(shutil.copytree(saved / network, tmp_path / "old"))
    description = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**description, "family": "stylegan2", "network": network}))
    assert bits(LOADERS[network](path).params) == bits(draw(network))


@pytest.mark.parametrize("name", ["", "config.json", "metadata.json"])
def test_missing_files(name: str, damaged: Path):
    """Protects: a missing checkpoint, or an incomplete one, is told apart from a damaged one, with what to do."""
    if name:
        (damaged / name).unlink()
    path = damaged if name else damaged.with_name("nowhere")
    message = refuse(path, kind=FileNotFoundError)
    assert (
        message.startswith(f"no checkpoint here ({name or 'config.json'} is missing)") and "weights_convert" in message
    )


def test_lost_parameters(damaged: Path):
    """Protects: an error about the checkpoint."""
    (damaged / "params.safetensors").unlink()
    assert refuse(damaged).startswith("the parameters can't be read: ")
    (damaged / "params.safetensors").mkdir()
    assert refuse(damaged).startswith("the parameters can't be read: ")


def test_damaged_parameters(damaged: Path):
    """Protects: every flipped bit of the parameters is noticed, and every cut; never wrong numbers."""
    path = damaged / "params.safetensors"
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 40):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        assert refuse(damaged).startswith("the parameters ")
    for size in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert refuse(damaged).startswith("the parameters ")


def test_brackets_in_a_path(tmp_path: Path):
    """Protects: folders named like patterns, in which a checkpoint was written that nobody could read."""
    path = tmp_path / "run [1]" / "best*?"
    save(path)
    assert bits(jaxedit.load(path).params) == bits(draw("generator"))


def test_a_full_disk_names_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: one error with the path that was written, and nothing left behind."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        save(tmp_path / "tiny")
    assert "tiny" in str(raised.value.filename) and os.listdir(tmp_path) == []


def test_what_cannot_be_read_back_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: no success without proof, on disks that lose bytes."""
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path)[:-1])
    with pytest.raises(OSError, match="not what is read back"):
        save(tmp_path / "tiny")
    assert os.listdir(tmp_path) == []


GOOD = {"family": "stylegan2", "network": "generator", "config": checkpoints.config_to_dict(CONFIGS["generator"])}


def changed(**fields: Any) -> bytes:
    """config.json with other fields of the configuration."""
    content = copy.deepcopy(GOOD)
    content["config"].update(fields)
    return json.dumps(content).encode()


NOT_JSON = "config.json is not valid JSON"
NO_FAMILY = "config.json: family is "
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NOT_JSON),
    "cut": (json.dumps(GOOD).encode()[:-5], NOT_JSON),
    "binary": (bytes(range(256)), NOT_JSON),
    "deep": (b"[" * 100_000, NOT_JSON),
    "deep and closed": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, NOT_JSON),
    "digits": (b'{"family": ' + b"9" * 10_000 + b"}", NOT_JSON),
    "list": (b"[]", "config.json has to hold an object"),
    "number": (b"NaN", "config.json has to hold an object"),
    "nothing": (b"{}", NO_FAMILY),
    "other family": (json.dumps({**GOOD, "family": "biggan"}).encode(), NO_FAMILY),
    "other network": (json.dumps({**GOOD, "network": "critic"}).encode(), NO_FAMILY),
    "network of another type": (json.dumps({**GOOD, "network": ["generator"]}).encode(), NO_FAMILY),
    "no config": (json.dumps({**GOOD, "config": None}).encode(), "config.json: the configuration has to be an object"),
    "list for config": (json.dumps({**GOOD, "config": [1]}).encode(), "config.json: the configuration has to be"),
    "unknown field": (changed(colour=3), "config.json: unknown field 'colour'; the fields are resolution, z_dim"),
    "line break in a field": (changed(**{"a\nb\x1b[31m": 1}), "config.json: unknown field 'a\\nb\\x1b[31m'"),
    "text": (changed(resolution="32"), "config.json: resolution is '32', expected int"),
    "fraction": (changed(z_dim=4.0), "config.json: z_dim is 4.0, expected int"),
    "truth": (changed(mapping_layers=True), "config.json: mapping_layers is True, expected int"),
    "truth for a float": (changed(mapping_lr_multiplier=False), "config.json: mapping_lr_multiplier is False"),
    "null": (changed(w_dim=None), "config.json: w_dim is None, expected int"),
    "list for a number": (changed(w_dim=[6]), "config.json: w_dim is [6], expected int"),
    "negative": (changed(c_dim=-1), "config.json: c_dim is -1, expected a value from 0"),
    "NaN": (changed(conv_clamp=math.nan), "config.json: conv_clamp is nan, expected a value from 0"),
    "infinite": (changed(mapping_lr_multiplier=math.inf), "config.json: mapping_lr_multiplier is inf"),
    "huge": (changed(channel_base=2**40), f"config.json: channel_base is {2**40}, expected a value from 0"),
    "no power of two": (changed(resolution=12), "config.json: resolution is 12; it has to be a power of two"),
    "too small": (changed(resolution=4), "config.json: resolution is 4; it has to be a power of two"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_configurations(case: str, damaged: Path):
    """Protects: anything a stranger may write into config.json ends in one line that says what was wrong."""
    content, expected = HOSTILE[case]
    (damaged / "config.json").write_bytes(content)
    assert refuse(damaged).startswith(expected)
    assert refuse(damaged, load=checkpoints.read_description).startswith(expected)


MISFITS: dict[str, dict[str, Any]] = {
    "other size": {"resolution": 16},
    "other channels": {"channel_max": 4},
    "classes": {"c_dim": 3},
    "deeper": {"mapping_layers": 2},
    "largest numbers": {"z_dim": 1 << 20, "w_dim": 1 << 20},
    "largest image": {"resolution": 1 << 13, "channel_base": 1 << 13},
}


@pytest.mark.parametrize("case", MISFITS)
def test_configurations_that_do_not_fit_the_parameters(case: str, damaged: Path):
    """Protects: numbers of another architecture: one line, and no large array is made."""
    (damaged / "config.json").write_bytes(changed(**MISFITS[case]))
    assert refuse(damaged).startswith("the parameters do not fit config.json: ")


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "w_dim 0": {"w_dim": 0},
    "z_dim 0": {"z_dim": 0},
    "no channels": {"channel_base": 0},
    "channel_max 0": {"channel_max": 0},
    "no learning rate": {"mapping_lr_multiplier": 0.0},
    "no mapping": {"mapping_layers": 0},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_configurations(case: str, damaged: Path):
    """Protects: numbers that no network can have: one line."""
    (damaged / "config.json").write_bytes(changed(**IMPOSSIBLE[case]))
    refuse(damaged)


def test_endless_configurations(damaged: Path):
    """Protects: a depth that would take hours to trace is refused before anything is traced."""
    (damaged / "config.json").write_bytes(changed(mapping_layers=1 << 20))
    assert "mapping_layers" in refuse(damaged, load=checkpoints.read_description)


def test_impossible_minibatch_statistics(saved: Path, tmp_path: Path):
    """Protects: the same for a discriminator."""
    path = Path(shutil.copytree(saved / "discriminator", tmp_path / "tiny"))
    description = json.loads((path / "config.json").read_text())
    description["config"]["mbstd_channels"] = 3  # the 8 channels at 4 px are no multiple of it
    (path / "config.json").write_text(json.dumps(description))
    refuse(path, load=jaxedit.load_discriminator)


def test_whole_numbers_do_for_fractions(damaged: Path):
    """Protects: JSON writers that drop `.0`."""
    (damaged / "config.json").write_bytes(changed(conv_clamp=256, mapping_lr_multiplier=1))
    config = jaxedit.load(damaged).config
    assert isinstance(config.conv_clamp, float) and isinstance(config.mapping_lr_multiplier, float)


def test_defaults_fill_absent_fields(damaged: Path):
    """Protects: a config.json written before a field existed."""
    content = copy.deepcopy(GOOD)
    for field in ("c_dim", "image_channels", "mapping_lr_multiplier", "conv_clamp"):
        del content["config"][field]
    (damaged / "config.json").write_text(json.dumps(content))
    assert jaxedit.load(damaged).config == CONFIGS["generator"]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_hostile_metadata(content: bytes, damaged: Path):
    """Protects: the same for metadata.json."""
    (damaged / "metadata.json").write_bytes(content)
    assert refuse(damaged).startswith("metadata.json ")


def test_sizes_are_limited_before_anything_is_read(damaged: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: memory from a folder that claims arrays which it does not hold, in agreement with its config.json."""
    monkeypatch.setitem(families.FAMILIES, "stylegan2", families.FAMILIES["stylegan2"]._replace(largest=1000))
    assert "at most 1,000 are read" in refuse(damaged)


def test_what_is_loaded_prints_in_one_line(saved: Path):
    """Protects: a notebook that shows a generator, a network or a direction without all of its numbers."""
    shown = [repr(LOADERS[network](saved / network)) for network in CONFIGS]
    shown += [repr(jaxedit.avatars.load_parser()), repr(jaxedit.avatars.load_direction("smile"))]
    assert all(len(line) < 500 and "\n" not in line for line in shown)
    assert shown[0].startswith("StyleGAN2Generator(config=StyleGAN2Config(resolution=8") and "parameters)" in shown[0]
    assert shown[3].startswith("Direction(name='smile', space='w', (128,), unit=")
