"""Training checkpoints of MobileStyleGAN in the official layout, with random weights."""

import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxedit
from jaxedit.generators.base import sample_z
from weights_convert import ConversionError, convert, standins

CHANNELS, DIM = (16, 16, 8), 12


def state_dict(*, noise: bool = False) -> dict[str, Any]:
    """What the official `Distiller` saves, with random numbers; teacher and losses are beside the student."""
    random = np.random.RandomState(0)

    def normal(*shape: int) -> np.ndarray:
        return random.randn(*shape).astype(np.float32)

    state = {}
    for i in (1, 2):
        state |= {f"mapping_net.layers.{i}.weight": normal(DIM, DIM), f"mapping_net.layers.{i}.bias": normal(DIM)}
    state |= {"style_mean": np.tile(normal(DIM), (1, 3 * len(CHANNELS) - 1, 1)), "device_info": np.array(1)}
    state |= {"synthesis_net.input.input": normal(1, 8, 4, 4), "loss.vgg.weight": normal(3)}
    state |= {"student.device_info": normal(1), "student.input.input": normal(1, CHANNELS[0], 4, 4)}

    def modulation(name: str, width: int) -> None:
        state.update({f"{name}.modulation.weight": normal(width, DIM), f"{name}.modulation.bias": normal(width)})

    def styled(name: str, below: int, width: int, side: int) -> None:
        modulation(f"{name}.conv", below)
        if name == "student.conv1":
            state[f"{name}.conv.weight"] = normal(width, below, 3, 3)
        else:
            state[f"{name}.conv.weight_dw"] = normal(below, 1, 3, 3)
            state[f"{name}.conv.weight_permute"] = normal(width, below, 1, 1)
        state[f"{name}.conv.style_inv"] = normal(1, 1, below, 1, 1)
        state[f"{name}.noise.weight"], state[f"{name}.bias"] = normal(1), normal(1, width, 1, 1)
        if noise:
            state[f"{name}.noise.noise"] = normal(1, 1, side, side)

    def image(name: str, below: int) -> None:
        modulation(f"{name}.conv", below)
        state.update({f"{name}.conv.weight": normal(12, below, 1, 1), f"{name}.bias": normal(1, 12, 1, 1)})

    def transform(name: str) -> None:
        state.update({f"{name}.g{i}_{axis}": normal(1, 1, 2, 1) for i in (0, 1) for axis in ("row", "col")})

    styled("student.conv1", CHANNELS[0], CHANNELS[0], 4)
    image("student.to_img1", CHANNELS[0])
    for index, (below, width) in enumerate(zip(CHANNELS, CHANNELS[1:], strict=False)):
        name = f"student.layers.{index}"
        modulation(f"{name}.up", below)
        transform(f"{name}.up.idwt")
        styled(f"{name}.conv1", below // 4, width, 8 << index)
        styled(f"{name}.conv2", width, width, 8 << index)
        image(f"{name}.to_img", width)
    transform("student.idwt")
    return state


def saved(path: Path, state: dict[str, Any]) -> Path:
    path.write_bytes(pickle.dumps({"state_dict": state, "epoch": 3}, protocol=2))
    return path


def mapped(state: dict[str, Any], z: np.ndarray) -> np.ndarray:
    x = z / np.sqrt(np.mean(np.square(z)) + 1e-8)
    for i in (1, 2):
        x = x @ state[f"mapping_net.layers.{i}.weight"].T * 0.01 / np.sqrt(DIM)
        x = x + 0.01 * state[f"mapping_net.layers.{i}.bias"]
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    return x


def inverse(x: np.ndarray) -> np.ndarray:
    """The inverse transform of channels-first bands, those of differences channel by channel."""
    bands = x.shape[0] // 4
    low, high = x[:bands], x[bands:].reshape(bands, 3, *x.shape[1:])
    out = np.zeros((bands, 2 * x.shape[1], 2 * x.shape[2]))
    for i, a in ((0, 1), (1, -1)):
        for j, b in ((0, 1), (1, -1)):
            out[:, i::2, j::2] = 0.5 * (low + a * high[:, 0] + b * high[:, 1] + a * b * high[:, 2])
    return out


def convolved(x: np.ndarray, kernel: np.ndarray, groups: int = 1) -> np.ndarray:
    found = jax.lax.conv_general_dilated(
        jnp.asarray(x, jnp.float32)[None],
        jnp.asarray(kernel, jnp.float32),
        (1, 1),
        "SAME",
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
        precision="highest",
    )
    return np.asarray(found[0], np.float64)


def drawn(state: dict[str, Any], w: np.ndarray, noise: dict[str, np.ndarray]) -> np.ndarray:
    """The image of a w as the official network computes it, demodulation where it stands there."""

    def style(name: str) -> np.ndarray:
        return (state[f"{name}.modulation.weight"] @ w + state[f"{name}.modulation.bias"])[:, None, None]

    def styled(name: str, x: np.ndarray) -> np.ndarray:
        conv = f"{name}.conv"
        gain = 1 / np.sqrt(9 * len(x))
        y = gain * style(conv) * x
        if f"{conv}.weight" in state:
            kernel = state[f"{conv}.weight"]
            y = convolved(y, kernel)
        else:
            kernel = state[f"{conv}.weight_dw"].swapaxes(0, 1) * state[f"{conv}.weight_permute"]
            y = convolved(convolved(y, state[f"{conv}.weight_dw"], len(y)), state[f"{conv}.weight_permute"])
        energy = np.square(gain * state[f"{conv}.style_inv"][0] * kernel).sum(axis=(1, 2, 3))
        y = y / np.sqrt(energy + 1e-8)[:, None, None]
        y = y + state[f"{name}.noise.weight"] * noise[name][0] + state[f"{name}.bias"][0]
        return np.where(y > 0, y, 0.2 * y)

    x, name = styled("student.conv1", state["student.input.input"][0]), ""
    for index in range(len(CHANNELS) - 1):
        name = f"student.layers.{index}"
        x = inverse(style(f"{name}.up") * x)
        for part in ("conv1", "conv2"):
            x = styled(f"{name}.{part}", x)
    conv = f"{name}.to_img.conv"
    bands = convolved(style(conv) * x / np.sqrt(len(x)), state[f"{conv}.weight"]) + state[f"{name}.to_img.bias"][0]
    return inverse(bands).transpose(1, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("stored", [True, False])
def test_training_checkpoints_draw_what_the_official_network_draws(tmp_path, stored):
    """Protects: every tensor in its place, demodulation in the kernels, noise with its strength, and the average w."""
    state = state_dict(noise=stored)
    lines = convert(saved(tmp_path / "last.ckpt", state), tmp_path / "out")
    assert (standins.NOISE in lines) == (not stored)
    generator = jaxedit.load(tmp_path / "out")
    assert generator.config.channels == CHANNELS
    np.testing.assert_array_equal(generator.params["mapping"]["w_avg"], state["style_mean"][0, 0])
    z = np.array(sample_z(0, DIM))
    w = np.array(generator.map(jnp.asarray(z)))
    np.testing.assert_allclose(w, mapped(state, z), rtol=1e-4, atol=1e-6)
    layers = [key.removesuffix(".noise.weight") for key in state if key.endswith(".noise.weight")]
    shapes = {key: (1, 1, side, side) for key, side in zip(layers, (4, 8, 8, 16, 16), strict=True)}
    made = standins.noise_maps(shapes)
    noise = {key: state[f"{key}.noise.noise"] if stored else made[key] for key in layers}
    expected = drawn(state, w, noise)
    image = generator.synthesize(generator.styles(w))
    np.testing.assert_allclose(image, expected, rtol=0, atol=2e-5 * np.ptp(expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("student.layers.1.conv2.conv.style_inv"), "style_inv is missing"),
        (lambda s: s.update({"student.layers.0.conv1.conv.style_inv": np.ones((1, 1, 3, 1, 1))}), "does not fit"),
        (lambda s: s.update({"student.extra": np.ones(3)}), "unexpected"),
        (lambda s: s.update({"student.layers.0.conv1.noise.weight": np.array([np.nan])}), "not finite"),
        (lambda s: s.pop("student.layers.0.up.modulation.bias"), "missing"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path, change, message):
    """Protects: missing, strange, unknown and non-finite tensors are named in one line."""
    state = state_dict()
    change(state)
    with pytest.raises(ConversionError, match=message):
        convert(saved(tmp_path / "last.ckpt", state), tmp_path / "out")
