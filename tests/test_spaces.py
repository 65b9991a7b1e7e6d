"""jaxedit.spaces and jaxedit.directions.files: what edits add, which files are directions, which fit."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxedit import Direction, load_direction, sample_z, save_direction, spaces, stylegan2
from jaxedit.cli.array_files import read_arrays
from jaxedit.directions.files import check_direction, direction_from_arrays
from jaxedit.generators.base import space_named
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

FFHQ = StyleGAN2Generator({}, StyleGAN2Config())


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def space_of(name, config):
    return space_named(StyleGAN2Generator({}, config), name)


def total(config):
    return sum(layer.width for layer in config.style_layers)


def direction(space, config, **fields):
    shapes = {
        "z": (config.z_dim,),
        "w": (config.w_dim,),
        "w_plus": (config.num_ws, config.w_dim),
        "s": (total(config),),
    }
    return Direction(name="test", space=space, vector=random(*shapes[space]), **fields)


# What is compiled.


def test_directions_and_generators_of_other_names_share_a_program(generator, config):
    """Protects: names and sources are in no key, and not lost; space and layers are in it."""
    traces = []

    @jax.jit
    def edit(generator, edit, z):
        traces.append(edit)
        return spaces.edited(generator, z, [(edit, 1.5)])

    z, first = jnp.asarray(sample_z(0, config.z_dim)), direction("w", config)
    other = Direction("other", "w", first.vector, unit=2.0, source="f" * 64, accuracy=0.5)
    renamed = dataclasses.replace(generator, fingerprint="e" * 64)
    once, twice = edit(generator, first, z), edit(renamed, other, z)
    assert len(traces) == 1
    expected = spaces.edited(generator, z, [(first, 3.0)])
    for got, want, before in zip(twice, expected, once, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        assert not np.allclose(got, before)
    edit(generator, dataclasses.replace(first, layers=(1,)), z)
    assert len(traces) == 2 and "unit=" in repr(traces[0])
    moved, sent = jax.tree.map(np.asarray, other), jax.device_put(renamed)
    assert (moved.name, moved.source, moved.accuracy, moved.unit) == ("other", "f" * 64, 0.5, 2.0)
    assert sent.fingerprint == "e" * 64


# What edits add.


def test_z_edits_come_before_the_mapping(generator, config):
    z, d = jnp.asarray(sample_z(0, config.z_dim)), direction("z", config, unit=0.5)
    expected = generator.styles(generator.map(z + 1.5 * 0.5 * d.vector, truncation_psi=0.7))
    result = spaces.edited(generator, z, [(d, 1.5)], truncation_psi=0.7)
    for got, want in zip(result, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("space", ["w", "w_plus"])
def test_w_edits_touch_only_their_rows_and_come_after_truncation(generator, config, space):
    d = direction(space, config, layers=(2, 5), unit=2.0)
    w = np.array(
        jnp.broadcast_to(
            generator.map(jnp.asarray(sample_z(0, config.z_dim)), truncation_psi=0.5), (config.num_ws, config.w_dim)
        )
    )
    for row in (2, 5):
        w[row] += -3 * 2.0 * (d.vector if space == "w" else d.vector[row])
    result = spaces.edited(generator, sample_z(0, config.z_dim), [(d, -3)], truncation_psi=0.5)
    for got, want in zip(result, generator.styles(jnp.asarray(w)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_w_plus_codes_are_taken_as_they_are(generator, config):
    w_plus = random(config.num_ws, config.w_dim)
    expected = generator.styles(jnp.asarray(w_plus))
    for got, want in zip(spaces.edited(generator, w_plus, start="w_plus"), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_style_edits_by_name_change_that_layer_only(generator, config):
    names = [layer.name for layer in config.style_layers]
    layers = spaces.resolve_layers("b8.conv0", space=space_of("s", config))
    d = direction("s", config, layers=layers)
    plain = spaces.edited(generator, sample_z(3, config.z_dim))
    edited = spaces.edited(generator, sample_z(3, config.z_dim), [(d, 2.0)])
    parts = stylegan2.split_styles(d.vector, config=config)
    for name, before, after, part in zip(names, plain, edited, parts, strict=True):
        np.testing.assert_allclose(after, before + (2.0 * part if name == "b8.conv0" else 0.0), rtol=1e-6)


def test_edits_of_all_spaces_add_up_and_cancel(generator, config):
    edits = [(direction(space, config), 0.7) for space in ("z", "w", "w_plus", "s")]
    z = sample_z(5, config.z_dim)
    twice = spaces.edited(generator, z, [*edits, *edits])
    double = spaces.edited(generator, z, [(d, 2 * strength) for d, strength in edits])
    nothing = spaces.edited(generator, z, [*edits, *[(d, -strength) for d, strength in edits]])
    for a, b in zip(twice, double, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    for a, b in zip(nothing, spaces.edited(generator, z), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_edits_work_under_jit_vmap_and_grad_with_traced_strengths(generator, config):
    d = direction("w", config, layers=(1,))
    traces = 0

    @jax.jit
    def styles(z, d, strength):
        nonlocal traces
        traces += 1
        return jax.vmap(lambda s: stylegan2.join_styles(spaces.edited(generator, z, [(d, s)])))(strength)

    z = jnp.asarray(sample_z(0, config.z_dim))
    strengths = jnp.array([-1.0, 0.0, 2.0])
    batch = styles(z, d, strengths)
    styles(z, dataclasses.replace(d, vector=2 * d.vector), strengths)
    assert traces == 1
    for row, strength in zip(batch, strengths, strict=True):
        alone = stylegan2.join_styles(spaces.edited(generator, z, [(d, float(strength))]))
        np.testing.assert_allclose(row, alone, rtol=1e-5, atol=1e-5)
    slope = jax.grad(lambda s: stylegan2.join_styles(spaces.edited(generator, z, [(d, s)])).sum())(0.0)
    np.testing.assert_allclose(slope, (batch[2].sum() - batch[0].sum()) / 3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_are_kept(config, dtype):
    latent = jnp.zeros((config.num_ws, config.w_dim), dtype)
    for strength in (1, 0.5, jnp.float32(2), np.float64(3)):
        edits = [(direction("w", config), strength)]
        assert spaces.add_directions(latent, edits, space=space_of("w", config)).dtype == dtype


def test_z_directions_cannot_edit_w_plus_codes(generator, config):
    code = random(config.num_ws, config.w_dim)
    with pytest.raises(ValueError, match="a latent in w_plus cannot be edited in z, which comes before"):
        spaces.edited(generator, code, [(direction("z", config), 1)], start="w_plus")
    with pytest.raises(ValueError, match="truncation_psi: only a latent in z depends on it"):
        spaces.edited(generator, code, start="w_plus", truncation_psi=0.7)
    with pytest.raises(ValueError, match="no space 'x': this generator has z, w, w_plus, s"):
        spaces.edited(generator, code, start="x")


@pytest.mark.parametrize("shape", [(19,), (3, 24), (7, 24), (1, 8, 24), ()])
def test_edits_take_one_latent(generator, unchecked, shape):
    """Protects: a batch or a W+ code of too few rows, which edits in W spread to all rows without a word."""
    edits = [(Direction(name="d", space="w", vector=np.ones(24, np.float32)), 1.0)]
    for latent in (np.ones(shape, np.float32), jnp.ones((1, 24))):
        with pytest.raises(ValueError, match=r"^[zw] has shape .* is right: .*jax.vmap"):
            spaces.edited(generator, latent, edits)


@pytest.mark.parametrize(("space", "shape"), [("w", (1, 24)), ("w_plus", (1, 24)), ("z", (1,)), ("s", (24,))])
def test_directions_of_other_shapes_are_refused(config, space, shape):
    """Protects: a vector that broadcasting would accept."""
    wrong = Direction(name="smile", space=space, vector=np.ones(shape, np.float32))
    with pytest.raises(ValueError, match=rf"smile: a vector of shape .*; \(.*\) is right in {space}"):
        spaces.displacement(wrong, space=space_of(space, config))


def test_styles_split_and_join(config):
    flat = jnp.asarray(random(total(config)))
    parts = stylegan2.split_styles(flat, config=config)
    assert [len(part) for part in parts] == [layer.width for layer in config.style_layers]
    np.testing.assert_array_equal(stylegan2.join_styles(parts), flat)


# Layers.


@pytest.mark.parametrize(
    ("text", "space", "expected"),
    [
        ("4-7", "w", (4, 5, 6, 7)),
        ("5,0-1, 5", "w_plus", (0, 1, 5)),
        ("0", "s", (0,)),
        ("b8.conv0-b8.torgb,b4.conv1", "s", (0, 2, 3, 4)),
        ([1, "b4.conv1"], "s", (0, 1)),
    ],
)
def test_layer_ranges(config, text, space, expected):
    assert spaces.resolve_layers(text, space=space_of(space, config)) == expected


@pytest.mark.parametrize(
    ("text", "space", "message"),
    [
        ("8", "w", "layers 0 to 7"),
        ("3-1", "w", "backwards"),
        ("b8.conv0", "w", "no layer 'b8.conv0'"),
        ("b64.conv0", "s", "layers 0 to 10 or names such as 'b4.conv1'"),
        ("", "w", "no layer ''"),
        ("-1", "w", "no layer ''"),
        ("1", "z", "a direction in z acts on all layers"),
    ],
)
def test_bad_layer_ranges_are_refused(config, text, space, message):
    with pytest.raises(ValueError, match=message):
        spaces.resolve_layers(text, space=space_of(space, config))


# Files.


@pytest.mark.parametrize(
    ("shape", "space"),
    [((512,), "w"), ((1, 512), "w"), ((18, 512), "w_plus"), ((1, 18, 512), "w_plus"), ((9088,), "s"), ((1, 9088), "s")],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_usual_shapes_in_usual_files(tmp_path, shape, space, suffix):
    path, array = tmp_path / f"smile{suffix}", random(*shape).astype(np.float64)
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, array)
    else:
        safetensors.numpy.save_file({"direction": array}, path)
    read = load_direction(path, generator=FFHQ)
    assert (read.name, read.space, read.layers, read.unit, read.source) == ("smile", space, None, 1.0, "")
    assert read.vector.dtype == np.float32
    np.testing.assert_array_equal(read.vector, np.squeeze(array).astype(np.float32))


@pytest.mark.parametrize("naming", ["positions", "layer names", "numbered"])
def test_per_layer_styles(tmp_path, generator, config, naming):
    parts = [random(1, layer.width) for layer in config.style_layers]
    path = tmp_path / "layers.npz"
    if naming == "positions":
        np.savez(path, *parts)
    elif naming == "layer names":
        named = {layer.name: part for layer, part in zip(config.style_layers, parts, strict=True)}
        np.savez(path, allow_pickle=False, **dict(reversed(named.items())))
    else:
        path = tmp_path / "layers.safetensors"
        safetensors.numpy.save_file({f"style_{index}": part for index, part in enumerate(parts)}, path)
    read = load_direction(path, generator=generator)
    assert read.space == "s"
    np.testing.assert_array_equal(read.vector, np.concatenate(parts, axis=1)[0])


def test_own_files_keep_everything(tmp_path, generator, config):
    written = direction("s", config, layers=(1, 3), unit=0.25, source=generator.fingerprint)
    save_direction(tmp_path / "d.safetensors", written)
    read = load_direction(tmp_path / "d.safetensors", generator=generator)
    for field in dataclasses.fields(Direction):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.safetensors"]
    with pytest.raises(ValueError, match="space 's', not 'w'"):
        load_direction(tmp_path / "d.safetensors", space="w")
    with pytest.raises(ValueError, match="written as .safetensors"):
        save_direction(tmp_path / "d.npy", written)


def test_space_chooses_between_z_and_w(tmp_path):
    np.save(tmp_path / "d.npy", random(512))
    assert load_direction(tmp_path / "d.npy", generator=FFHQ, space="z").space == "z"
    assert load_direction(tmp_path / "d.npy", space="z").space == "z"
    with pytest.raises(ValueError, match="fits space 'w_plus' not"):
        load_direction(tmp_path / "d.npy", generator=FFHQ, space="w_plus")


@pytest.mark.parametrize("shape", [(14, 512), (6080,), (2, 18, 512), (), (0,), (513,)])
def test_other_shapes_are_refused_with_the_shapes_that_fit(tmp_path, shape):
    np.save(tmp_path / "d.npy", np.zeros(shape, np.float32))
    with pytest.raises(ValueError) as caught:
        load_direction(tmp_path / "d.npy", generator=FFHQ)
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / "d.npy") in message
    if shape != (0,):
        assert "(512,) for w, (18, 512) for w_plus, (9088,) or 26 arrays of widths 512" in message


def test_directions_of_another_generator_are_refused(tmp_path, generator, config):
    other = direction("w", config, source="feedbeef" * 8)
    with pytest.raises(ValueError, match="another generator .feedbeef"):
        check_direction(other, generator)
    save_direction(tmp_path / "d.safetensors", other)
    with pytest.raises(ValueError, match="d.safetensors: .*another generator"):
        load_direction(tmp_path / "d.safetensors", generator=generator)
    with pytest.raises(ValueError, match="layer 8 of space 'w' does not exist; there are 8"):
        check_direction(direction("w", config, layers=(1, 8)), generator)
    with pytest.raises(ValueError, match=r"shape \(24,\) does not fit space 'w'"):
        check_direction(direction("w", config), FFHQ)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan]), "not finite"),
        (np.array([1e300, 0.0]), "not finite"),
        (np.array(["a", "b"]), "real numbers"),
        (np.array([1j, 0]), "real numbers"),
        (np.array([True, False]), "real numbers"),
    ],
)
def test_values_that_are_no_direction_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        direction_from_arrays({"": array}, name="d")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was executed",))


def _broken_files(folder):
    np.save(folder / "object.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(folder / "object.npz", np.array([Bomb()], dtype=object), allow_pickle=True)
    (folder / "empty.npy").write_bytes(b"")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "noise.npy").write_bytes(bytes(range(256)))
    (folder / "noise.npz").write_bytes(b"PK\x03\x04" + bytes(range(200)))
    (folder / "noise.safetensors").write_bytes(bytes(range(255, -1, -1)))
    np.save(folder / "whole.npy", random(512))
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:1000])
    np.savez(folder / "whole.npz", random(512))
    (folder / "cut.npz").write_bytes((folder / "whole.npz").read_bytes()[:1000])
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 512), }"
    huge = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    (folder / "huge.npy").write_bytes(huge)
    with zipfile.ZipFile(folder / "huge.npz", "w") as archive:
        archive.writestr("a.npy", huge)
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.npy", "w") as member:
            for _ in range(1025):
                member.write(bytes(1 << 20))
    metadata = {"jaxedit_direction": json.dumps({"name": "x", "space": "v", "layers": None, "unit": 1, "source": ""})}
    safetensors.numpy.save_file({"vector": random(4)}, folder / "space.safetensors", metadata=metadata)
    safetensors.numpy.save_file({"vector": random(4)}, folder / "json.safetensors", metadata={"jaxedit_direction": "{"})
    safetensors.numpy.save_file({"v": random(4)}, folder / "name.safetensors", metadata=metadata)
    good = '{"name": "x", "space": "w", "layers": null, "unit": 1, "source": ""}'
    texts = {"deep": "[" * 100000, "unit": good.replace("1", "1" * 400)}
    for name, layers in {"infinite": "[1e400]", "text": '"12"', "bool": "[true]", "float": "[1.0]"}.items():
        texts[name] = good.replace("null", layers)
    for name, text in texts.items():
        data = safetensors.numpy.save({"vector": random(512)}, metadata={"jaxedit_direction": text})
        (folder / f"own_{name}.safetensors").write_bytes(data)
    (folder / "negative.npy").write_bytes(huge.replace(b"(1000000000000, 512)", b"(-1, 512)           "))
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("a.txt", "1 2 3")
    (folder / "direction.txt").write_text("1 2 3")
    (folder / "whole.npy").rename(folder / "array.npz")
    (folder / "whole.npz").rename(folder / "archive.npy")
    return sorted(folder.iterdir())


def test_broken_and_hostile_files_end_in_one_line(tmp_path):
    broken = _broken_files(tmp_path)
    assert len(broken) == 27
    for path in [*broken, tmp_path / "absent.npy", tmp_path]:
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load_direction(path, generator=FFHQ)
        assert str(path) in str(caught.value)


def test_bfloat16_files(tmp_path):
    vector = np.asarray(jnp.asarray(random(512), jnp.bfloat16))
    safetensors.numpy.save_file({"a": vector}, tmp_path / "d.safetensors")
    for loaded in (load_direction(tmp_path / "d.safetensors"), direction_from_arrays({"": vector}, name="d")):
        assert loaded.vector.dtype == np.float32 and (loaded.vector == vector.astype(np.float32)).all()
    assert read_arrays(tmp_path / "d.safetensors")["a"].dtype == np.float32


def test_public_modules_are_reachable():
    code = "import jaxedit; jaxedit.nn.conv2d, jaxedit.directions.files.read_arrays, jaxedit.spaces.Direction"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Real files.


def test_real_directions_load(fixtures):
    for path in sorted((fixtures / "interfacegan" / "stylegan2_ffhq_w").glob("*.npy")):
        read = load_direction(path, generator=FFHQ)
        assert read.space == "w" and read.vector.shape == (512,)
        np.testing.assert_allclose(np.linalg.norm(read.vector), 1.0, rtol=1e-5)
    for path in (fixtures / "lowrankgan").glob("*.npy"):
        assert load_direction(path, generator=FFHQ).space == "w"
    z = load_direction(fixtures / "interfacegan/boundaries/stylegan_ffhq_age_boundary.npy", generator=FFHQ, space="z")
    assert z.space == "z"


@pytest.mark.parametrize(("name", "space"), [("smile", "w"), ("age", "w"), ("pose", "w_plus")])
def test_real_pytorch_directions_load(fixtures, name, space):
    arrays = read_arrays(fixtures / "e4e" / f"{name}.pt")
    assert direction_from_arrays(arrays, name=name, generator=FFHQ).space == space
