"""A family of generators that nothing in the package has heard of goes through files, edits, fits and commands."""

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxedit import Direction, batch, checkpoints, cli, families, images, load_direction, save_direction, spaces
from jaxedit.generators.base import Generator, Layer, Space
from jaxedit.nn.pytrees import frozen_pytree


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    resolution: int = 16
    c_dim: int = 2


def init(key: jax.Array, *, config: ToyConfig) -> Any:
    shapes = {"embed": (config.c_dim, 15), "mix": (6, 15), "draw": (15, config.resolution, 3)}
    return {name: jax.random.normal(key, shape) for name, shape in shapes.items()}


@frozen_pytree(leaves=("params",), notes=("fingerprint",))
class Toy:
    """Noise of six numbers and a class make three blocks of five, which are drawn as stripes."""

    params: Any
    config: ToyConfig
    fingerprint: str = ""
    conditions: ClassVar[tuple[str, ...]] = ("c",)
    options: ClassVar[tuple[str, ...]] = ()

    @property
    def spaces(self) -> tuple[Space, ...]:
        blocks = tuple(Layer(name, 5) for name in ("low", "middle", "high"))
        return Space("noise", (6,)), Space("blocks", (3, 5), blocks)

    def advance(self, space: str, latent: Any, **condition: Any) -> Any:
        of_class = condition["c"] @ self.params["embed"] if condition else 0.0
        return jnp.tanh(latent @ self.params["mix"] + of_class).reshape(3, 5)

    def render(self, latent: Any) -> Any:
        stripe = jnp.tanh(jnp.einsum("i,irc->rc", latent.reshape(15), self.params["draw"]))
        return jnp.broadcast_to(stripe, (self.config.resolution, *stripe.shape))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the family, which is registered."""
    monkeypatch.setitem(families.FAMILIES, "toy", families.Family("generator", ToyConfig, init, Toy, 10_000))
    config = ToyConfig()
    params = families.init(jax.random.key(0), config=config)
    checkpoints.save(tmp_path / "toy", params=params, config=config, metadata={"source": "made up"})
    return tmp_path / "toy"


def run(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_generator_of_a_new_family_is_one_row(toy: Path, tmp_path: Path, capsys: Any):
    """Protects: that files, batches and commands know a generator by its spaces and no family by name."""
    generator = checkpoints.load(toy)
    assert isinstance(generator, Toy) and isinstance(generator, Generator) and len(generator.fingerprint) == 64
    assert run("info", toy) == 0
    shown = capsys.readouterr().out
    assert "generator (toy), 16 px" in shown and "space blocks: 3 x 5 numbers, layers 0 to 2" in shown
    drawing = ["--class", 1, "--output", tmp_path / "drawn", "--save-latents"]
    assert run("generate", toy, "--seeds", "0-39", *drawing) == 0
    noise = safetensors.numpy.load_file(tmp_path / "drawn" / "noise.safetensors")
    labels = [int(noise[name][0] > 0) for name in sorted(noise)]
    (tmp_path / "labels.txt").write_text("\n".join(map(str, labels)) + "\n")
    fitting = ["--labels", tmp_path / "labels.txt", "--checkpoint", toy]
    fitting += ["--space", "blocks", "--latents-space", "noise"]
    latents, fitted = tmp_path / "drawn" / "noise.safetensors", tmp_path / "first.safetensors"
    assert run("fit-direction", latents, *fitting, "--output", fitted) == 0
    direction = load_direction(fitted, generator=generator)
    assert direction.space == "blocks" and np.shape(direction.vector) == (3, 5) and (direction.accuracy or 0) > 0.75
    editing = ["--direction", fitted, "--layers", "low-middle", "--strengths", -2, 2, "--output", tmp_path / "edited"]
    assert run("edit", toy, "--seeds", 3, "--class", 1, *editing) == 0
    limited = dataclasses.replace(direction, layers=(0, 1))
    samples = [np.asarray(noise["seed0003"])]

    def drawn(shared: Any, latent: jax.Array) -> jax.Array:
        of_class = jnp.array([0.0, 1.0])
        return images.to_uint8(shared[0].render(spaces.edited(shared[0], latent, [(shared[1], 2.0)], c=of_class)))

    (expected,) = batch.map_samples(drawn, (generator, limited), samples, batch_size=8)
    written = images.read_png(tmp_path / "edited" / "seed0003_+2.png").astype(int)
    assert np.abs(written - expected.astype(int)).max() <= 1
    assert np.abs(written - images.read_png(tmp_path / "edited" / "seed0003_-2.png").astype(int)).max() > 10


def test_what_the_family_lacks_is_refused(toy: Path, tmp_path: Path, capsys: Any):
    """Protects: one line instead of an option that does nothing, and no direction of another family."""
    save_direction(tmp_path / "w.safetensors", Direction("w", "w", np.ones(6, np.float32)))
    (tmp_path / "labels.txt").write_text("0\n1\n0\n1\n")
    np.save(tmp_path / "latents.npy", np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32))
    output = ["--output", tmp_path / "out"]
    edit = ["edit", toy, "--seeds", 0, "--class", 1, *output]
    refused = {
        ("generate", toy, "--seeds", 0, "--class", 1, "--truncation-psi", 0.5, *output): "--truncation-psi: generators",
        ("generate", toy, "--seeds", 0, "--class", 1, "--noise-mode", "none", *output): "--noise-mode: generators",
        ("generate", toy, "--seeds", 0, *output): "choose one with --class 0 to --class 1",
        (*edit, "--direction", tmp_path / "w.safetensors"): "(6,) for noise, (3, 5) for blocks would fit",
        ("intervene", toy, "--seeds", 0, *output): "intervene takes generators with stages",
    }
    for command, message in refused.items():
        assert run(*command) != 0
        assert message in capsys.readouterr().err
    fitting = ["--labels", tmp_path / "labels.txt", "--checkpoint", toy, "--latents-space", "blocks"]
    assert run("fit-direction", tmp_path / "latents.npy", *fitting, "--output", tmp_path / "d.safetensors") != 0
    assert "there is no space 'w'; choose from noise, blocks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert json.loads((toy / "config.json").read_text())["family"] == "toy"
