"""The networks of L2M-GAN: forward passes in float64, and the converter on files of both official layouts."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_pickles as pickles
import oracles
import pytest
from official_pickles import Tensor
from oracles import f64
from slowly import first_quick
from test_networks import check, nearest, normal, relu

import jaxedit
from jaxedit.families import abstract_params
from jaxedit.families import init as init_network
from jaxedit.networks.l2m_blocks import WidthsConfig
from jaxedit.networks.l2m_discriminator import L2MDiscriminator, L2MDiscriminatorConfig
from jaxedit.networks.l2m_generator import L2MGenerator, L2MGeneratorConfig
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoder, L2MStyleEncoderConfig, decompose, transform
from weights_convert.__main__ import main
from weights_convert.state_dicts import official_rows

SKIPS = L2MGeneratorConfig(64, 2, 6, 5, 2.0)
SHORTCUTS = dataclasses.replace(SKIPS, w_hpf=0.0)
ENCODER = L2MStyleEncoderConfig(64, 2, 6, 5, 3)
CRITIC = L2MDiscriminatorConfig(64, 2, 6, 3)
# The published code's generators have 16384 channels and pixels together.
NARROW = L2MGeneratorConfig(1 << 13, 2, 3, 4, 1.0)


@functools.cache
def params_of(config: Any) -> Any:
    """Random numbers of which none is 0; kernels keep the size of what they multiply."""
    leaves: Any = flax.traverse_util.flatten_dict(abstract_params(config))
    drawn = {name: normal(index, *leaf.shape) for index, (name, leaf) in enumerate(leaves.items())}
    for name, leaf in drawn.items():
        scale = float(np.prod(leaf.shape[:-1])) ** -0.5 if name[-1] == "kernel" else 0.3
        drawn[name] = 1 + 0.2 * leaf if name[-1] == "scale" else scale * leaf
    return flax.traverse_util.unflatten_dict(drawn)


# The forward passes.


class Official:
    """As StarGAN v2's code has them, channels last, operation by operation."""

    def __init__(self, params: Mapping[str, Any]):
        flat = flax.traverse_util.flatten_dict(params["params"])
        self.values = {".".join(path): f64(leaf) for path, leaf in flat.items()}

    def conv(self, name: str, x: np.ndarray, pad: int = 1) -> np.ndarray:
        return oracles.conv2d(x, self.values[f"{name}.kernel"], padding=((pad, pad), (pad, pad))) + self.values.get(
            f"{name}.bias", 0
        )

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.values[f"{name}.kernel"] + self.values[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.values[f"{name}.scale"] * standard(x) + self.values[f"{name}.bias"]

    def adain(self, name: str, x: np.ndarray, style: np.ndarray) -> np.ndarray:
        gamma, beta = np.split(self.dense(f"{name}.fc", style), 2)
        return (1 + gamma) * standard(x) + beta

    def shortcut(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.conv(f"{name}.conv1x1", x, 0) if f"{name}.conv1x1.kernel" in self.values else x

    def block(self, name: str, x: np.ndarray, down: bool) -> np.ndarray:
        normed = f"{name}.norm1.scale" in self.values
        y = self.conv(f"{name}.conv1", leaky(self.norm(f"{name}.norm1", x) if normed else x))
        y = pooled(y) if down else y
        y = self.conv(f"{name}.conv2", leaky(self.norm(f"{name}.norm2", y) if normed else y))
        x = self.shortcut(name, x)
        return ((pooled(x) if down else x) + y) / np.sqrt(2)

    def adain_block(self, name: str, x: np.ndarray, style: np.ndarray, up: bool, w_hpf: float) -> np.ndarray:
        y = leaky(self.adain(f"{name}.norm1", x, style))
        y = self.conv(f"{name}.conv1", nearest(y) if up else y)
        y = self.conv(f"{name}.conv2", leaky(self.adain(f"{name}.norm2", y, style)))
        return y if w_hpf else (y + self.shortcut(name, nearest(x) if up else x)) / np.sqrt(2)

    def generator(self, image: np.ndarray, style: np.ndarray, masks: Any, w_hpf: float) -> np.ndarray:
        x, cache, downs = self.conv("from_rgb", image), {}, 3 if w_hpf else 2
        for index in range(downs + 2):
            cache.setdefault(len(x), x)
            x = self.block(f"encode.{index}", x, index < downs)
        for index in range(downs + 2):
            x = self.adain_block(f"decode.{index}", x, style, index > 1, w_hpf)
            if masks is not None and len(x) in (32, 64):
                mask = bilinear(masks[len(x) // 64], len(x))[..., None]
                x = x + laplacian(mask * cache[len(x)]) / w_hpf
        return self.conv("to_rgb.2", leaky(self.norm("to_rgb.0", x)), 0)

    def trunk(self, prefix: str, image: np.ndarray) -> np.ndarray:
        x = self.conv(f"{prefix}.0", image)
        for index in range(1, 5):
            x = self.block(f"{prefix}.{index}", x, True)
        return leaky(self.conv(f"{prefix}.6", leaky(x), 0))

    def perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        for layer in ("0", "2"):
            x = relu(self.dense(f"{name}.{layer}", x))
        return self.dense(f"{name}.4", x)


def standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def pooled(x: np.ndarray) -> np.ndarray:
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def laplacian(x: np.ndarray) -> np.ndarray:
    kernel = np.full((3, 3, 1, 1), -1.0)
    kernel[1, 1] = 8
    return np.concatenate(
        [oracles.conv2d(x[..., [c]], kernel, padding=((1, 1), (1, 1))) for c in range(x.shape[2])], -1
    )


def bilinear(mask: np.ndarray, size: int) -> np.ndarray:
    """Of half-pixel centres, pixel by pixel, without antialiasing."""
    out = np.empty((size, size))
    for place in np.ndindex(size, size):
        at = [np.clip((i + 0.5) * n / size - 0.5, 0, n - 1) for i, n in zip(place, mask.shape, strict=True)]
        low = [int(a) for a in at]
        high = [min(a + 1, n - 1) for a, n in zip(low, mask.shape, strict=True)]
        row, column = (a - b for a, b in zip(at, low, strict=True))
        upper = (1 - column) * mask[low[0], low[1]] + column * mask[low[0], high[1]]
        lower = (1 - column) * mask[high[0], low[1]] + column * mask[high[0], high[1]]
        out[place] = (1 - row) * upper + row * lower
    return out


@pytest.mark.parametrize("masked", first_quick([True, False]))
@pytest.mark.parametrize("config", first_quick([SHORTCUTS, SKIPS]))
def test_generator_in_float64(config: L2MGeneratorConfig, masked: bool):
    """Protects: both kinds of decoders, adaptive normalisation, high-pass skips and which mask is for which size."""
    image, style = 0.5 * normal(7, 64, 64, 3), normal(8, 5)
    masks = (jax.nn.sigmoid(normal(9, 100, 90)), jax.nn.sigmoid(normal(10, 40, 50))) if masked else None
    network = L2MGenerator(params_of(config), config)
    call = jax.jit(lambda network, *given, masks: network(*given, masks=masks))
    if masked and not config.w_hpf:
        with pytest.raises(ValueError, match="w_hpf 0"):
            call(network, image, style, masks=masks)
        return
    both = masks and [*map(f64, masks)]
    expected = Official(network.params).generator(f64(image), f64(style), both, config.w_hpf)
    check(call(network, image, style, masks=masks), expected)
    if masks:
        check(call(network, image, style, masks=tuple(mask[..., None] for mask in masks)), expected)


def test_style_encoder_and_discriminator_in_float64():
    """Protects: the trunk, the head of the image's domain, P, and DT of the target's domain."""
    image, params, official = 0.5 * normal(7, 64, 64, 3), params_of(ENCODER), Official(params_of(ENCODER))
    encoder, trunk = L2MStyleEncoder(params, ENCODER), official.trunk("shared", f64(image))[0, 0]
    call = jax.jit(lambda encoder, *given: encoder(*given))
    for domain in range(3):
        s = official.dense(f"unshared.{domain}", trunk)
        check(call(encoder, image, jnp.int32(domain)), s)
        s_un = official.perceptron("transform1", s)
        for found, expected in zip(decompose(params, jnp.asarray(s, jnp.float32)), (s_un, s - s_un), strict=True):
            check(found, expected)
        s_re = jnp.asarray(s - s_un, jnp.float32)
        check(transform(params, s_re, domain), official.perceptron(f"transform2.{domain}", f64(s_re)))
    critic, official = L2MDiscriminator(params_of(CRITIC), CRITIC), Official(params_of(CRITIC))
    logits = official.conv("main.8", official.trunk("main", f64(image)), 0).reshape(3)
    check(jax.jit(lambda critic, image: critic(image))(critic, image), logits)


def test_domains_that_do_not_exist(unchecked: None):
    """Protects: a wrong number is an error where it is known, and not another domain's style where it is traced."""
    params, s = params_of(ENCODER), normal(0, 5)
    for domain in (-1, 3):
        with pytest.raises(ValueError, match=f"domain {domain}; there are 3"):
            transform(params, s, domain)
        assert np.isnan(jax.jit(transform)(params, s, jnp.int32(domain))).all()
    bare = {"params": {name: value for name, value in params["params"].items() if "transform" not in name}}
    with pytest.raises(ValueError, match="StarGAN v2's"):
        decompose(bare, s)


def test_shapes_are_checked(unchecked: None):
    """Protects: a batch, or an image of another size, is refused with what would be right."""
    generator = L2MGenerator(params_of(SKIPS), SKIPS)
    for shape in ((32, 32, 3), (2, 64, 64, 3)):
        with pytest.raises(ValueError, match=r"\(64, 64, 3\) is right"):
            generator(jnp.zeros(shape), jnp.zeros(5))
    with pytest.raises(ValueError, match="the style has shape"):
        generator(jnp.zeros((64, 64, 3)), jnp.zeros(6))


@pytest.mark.slow
def test_networks_start_he_normal():
    """Protects: what training starts from: deviations of sqrt(2 / fan_in), biases 0."""
    config = L2MStyleEncoderConfig(64, 16, 64, 16)
    drawn: Any = flax.traverse_util.flatten_dict(
        jax.jit(lambda key: init_network(key, config=config))(jax.random.key(0))
    )
    for path, leaf in drawn.items():
        if path[-1] == "bias":
            assert not leaf.any(), path
        elif leaf.size > 1000:
            assert abs(float(jnp.std(leaf)) / np.sqrt(2 / np.prod(leaf.shape[:-1])) - 1) < 0.1, path


WRONG = {
    "48 px": (lambda: WidthsConfig(48), "power of two from 64"),
    "width": (lambda: WidthsConfig(64, 8, 4), "the first at most the second"),
    "style": (lambda: L2MGeneratorConfig(style_dim=0), "style_dim is 0"),
    "w_hpf": (lambda: L2MGeneratorConfig(w_hpf=float("nan")), "w_hpf is nan"),
    "domains": (lambda: L2MStyleEncoderConfig(domains=1), "domains is 1"),
    "critic": (lambda: L2MDiscriminatorConfig(domains=1), "domains is 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_architectures_that_cannot_be(case: str):
    """Protects: a config says what is wrong with it."""
    make, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        make()


# The converter.

# Of the sorted lines "name shape" of the official networks' state dicts, without what inference does not use.
OFFICIAL = {
    L2MGeneratorConfig(): (121, "57d89f145287d953bd285f08ac4d8ddcfbb6843ff5fa34778262edabb76b1951"),
    L2MGeneratorConfig(w_hpf=0.0): (108, "7e1f6d446d31d77e1eaaa91bcad88a4c31c369f10fc3b32f5aa79f2ee853b9af"),
    L2MStyleEncoderConfig(): (53, "fa241a62d801ebd657a608acc886fe2dc66ffb0f7031e0bea504a83ab1c8c20a"),
    L2MStyleEncoderConfig(transform_layers=0): (35, "9e2e2843c04b3025804d28c9b6da7cd61b8435f71c93ab99b5e7f2f7f87c7b7d"),
    L2MDiscriminatorConfig(): (33, "4ab0b2e42ce46dd4f4b176ae9ba0f7da342f3f5e84a55bcef2dce2b913aec403"),
}


@pytest.mark.parametrize("config", OFFICIAL, ids=lambda config: f"{type(config).__name__}-{hash(config) % 97}")
def test_names_and_shapes_are_those_of_the_official_files(config: Any):
    """Protects: a released file fits as it is: every name and every shape."""
    count, digest = OFFICIAL[config]
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(config), sep="/")
    orders = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
    lines = []
    for row in official_rows(config):
        shape = shapes[row.leaf].shape
        lines.append(f"{row.torch} {tuple(shape[axis] for axis in orders[len(shape)])}")
    assert len(lines) == count
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == digest


def official_state(config: Any) -> dict[str, Tensor]:
    """Parameters under their official names, in PyTorch's layout."""
    state = {}
    for path, leaf in flax.traverse_util.flatten_dict(params_of(config)).items():
        array = np.asarray(leaf)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        source = {"kernel": "weight", "scale": "weight", "bias": "bias"}[path[-1]]
        state[".".join((*path[1:-1], source))] = Tensor(np.ascontiguousarray(array))
    return state


def zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


ATTENTION = {f"attention.layers.{layer}.{part}": zeros(4) for layer in (0, 2) for part in ("weight", "bias")}
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


def l2m_file(config: L2MGeneratorConfig, shortcut: int = 11) -> dict[str, Any]:
    """As L2M-GAN's code writes it, with the shortcut that a decoder with high-pass skips does not use."""
    unused = {f"decode.{shortcut}.conv1x1.weight": zeros(2, 3, 1, 1)} if config.w_hpf else {}
    generator = official_state(config) | ATTENTION | unused
    others = {"fan": {"conv1.weight": zeros(2)}, "vgg": {"0.weight": zeros(2)}}
    return {"generator": generator, "style_encoder": official_state(ENCODER) | ATTENTION, **others}


def same_params(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda one, other: np.testing.assert_array_equal(one, other), found, expected)


@pytest.mark.parametrize("w_hpf", first_quick([1.0, 0.0]))
def test_files_of_l2m_gan_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str], w_hpf: float):
    """Protects: the networks of the official file, each in a folder; what is not read is said."""
    config = dataclasses.replace(NARROW, w_hpf=w_hpf)
    source = pickles.torch_save(tmp_path / "100000_nets_ema.ckpt", l2m_file(config))
    assert main([str(source), str(tmp_path / "l2m")]) == 0
    out = capsys.readouterr().out
    assert "note: left out, as networks of no known kind: fan, vgg\n" in out and "non-commercial" in out
    generator, encoder = (jaxedit.load_network(tmp_path / "l2m" / name) for name in ("generator", "style_encoder"))
    assert isinstance(generator, L2MGenerator) and generator.config == config
    assert isinstance(encoder, L2MStyleEncoder) and encoder.config == ENCODER
    same_params(generator.params, params_of(config))
    same_params(encoder.params, params_of(ENCODER))


@pytest.mark.slow
def test_files_of_stargan_v2_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a wrapper's prefix, the filter that says w_hpf, encoders without transforms, networks by kind."""
    config, bare = dataclasses.replace(NARROW, w_hpf=2.0), dataclasses.replace(ENCODER, transform_layers=0)
    networks = {
        "generator": official_state(config) | {"hpf.filter": Tensor(LAPLACIAN / 2)},
        "style_encoder": official_state(bare),
        "mapping_network": {"shared.0.weight": zeros(3, 2), "unshared.0.0.weight": zeros(3, 3)},
        "discriminator": official_state(CRITIC),
    }
    wrapped = {name: {f"module.{key}": value for key, value in state.items()} for name, state in networks.items()}
    source = pickles.torch_save(tmp_path / "100000_nets.ckpt", wrapped)
    assert main([str(source), str(tmp_path / "all")]) == 0
    assert "left out, as networks of no known kind: mapping_network\n" in capsys.readouterr().out
    found = {name: jaxedit.load_network(tmp_path / "all" / name) for name in networks if name != "mapping_network"}
    assert [network.config for network in found.values()] == [config, bare, CRITIC]
    same_params(found["discriminator"].params, params_of(CRITIC))
    assert main([str(source), str(tmp_path / "one"), "--network", "l2m_discriminator"]) == 0
    assert isinstance(jaxedit.load_network(tmp_path / "one"), L2MDiscriminator)


CHANGES: dict[str, tuple[Any, str]] = {
    "unexpected": (lambda file: file["generator"].update({"attention.layers.1.weight": zeros(2)}), "1 unexpected"),
    "other shortcut": (
        lambda file: file["generator"].update({"decode.0.conv1x1.weight": zeros(3, 3, 1, 1)}),
        "1 unexpected (decode.0.conv1x1.weight)",
    ),
    "missing": (lambda file: file["style_encoder"].pop("transform2.2.4.bias"), "1 missing (transform2.2.4.bias)"),
    "filter": (
        lambda file: file["generator"].update({"hpf.filter": Tensor(LAPLACIAN + 1)}),
        "hpf.filter is not the high-pass filter",
    ),
    "flat filter": (lambda file: file["generator"].update({"hpf.filter": zeros(9)}), "hpf.filter is not the"),
    "blocks": (
        lambda file: file["generator"].update({"encode.12.conv2.weight": zeros(3, 3, 3, 3)}),
        "do not fit each other, so the architecture cannot be told",
    ),
    "no channels": (
        lambda file: file["generator"].update({"from_rgb.weight": zeros(0, 3, 3, 3)}),
        "resolution is 16384",
    ),
    "no power of two": (lambda file: file["generator"].update({"from_rgb.weight": zeros(3, 3, 3, 3)}), "from 5461 px"),
    "vector": (lambda file: file["style_encoder"].update({"unshared.0.weight": zeros(5)}), "unshared.0.weight is of"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_damaged_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: only what is known to be unused is left out; one line says what does not fit, and nothing is left."""
    change, message = CHANGES[case]
    change(file := l2m_file(NARROW))
    source = pickles.torch_save(tmp_path / "source.ckpt", file)
    assert main([str(source), str(tmp_path / "l2m")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source.ckpt"]
