"""Networks wherever in a file they are, as users and forks save them; and files that are known but not read."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest
from official_pickles import Tensor
from test_weights_convert import pairs

import jaxedit
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from weights_convert import ConversionError, convert, standins
from weights_convert.__main__ import main
from weights_convert.conversion import Built, prepare

Write = Callable[[Path], Path]


def rosinality(prefix: str = "", *, without: str = "-") -> dict[str, Any]:
    """A bare state dict of the generator with its average, each name after a prefix."""
    (params, config), _ = pairs({})
    state = official.rosinality_generator(params, config) | {"latent_avg": params["mapping"]["w_avg"]}
    return dict(official.state_dict({prefix + name: value for name, value in state.items() if without not in name}))


def tensorflow(**options: Any) -> tuple[Any, Any, Any]:
    return official.tensorflow_objects(*pairs({}), **options)


def ada() -> dict[str, Any]:
    return official.ada_objects(*pairs({}))


def pickled(make: Callable[[], Any]) -> Write:
    return lambda path: pickles.pickled(path, make())


def saved(make: Callable[[], Any], legacy: bool = False) -> Write:
    return lambda path: pickles.torch_save(path, make(), legacy=legacy)


def prepared(source: Path, network: str | None = None) -> Built:
    """What `convert` would write."""
    (built,) = prepare(source, source.parent / "destination", network=network).networks.values()
    return built


def check(result: Built) -> None:
    """Compares with the network of the kind that every writer here is given."""
    params, config = pairs({})[isinstance(result.config, DiscriminatorConfig)]
    expected = {"/".join(path): array for path, array in leaves(params)}
    assert result.config == config and set(result.arrays) == set(expected)
    for leaf, array in expected.items():
        assert result.arrays[leaf].dtype == np.float32
        np.testing.assert_array_equal(result.arrays[leaf], array)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if isinstance(tree, dict):
        for name, child in tree.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, tree


ALONE: dict[str, tuple[Write, str]] = {
    "torch.save(G)": (saved(lambda: ada()["G_ema"]), "generator"),
    "torch.save(G), stream": (saved(lambda: ada()["G_ema"], legacy=True), "generator"),
    "pickle.dump(G)": (pickled(lambda: ada()["G_ema"]), "generator"),
    "G under another key": (pickled(lambda: {"tuned": ada()["G_ema"], "step": 7}), "tuned"),
    "G in a dict of dicts": (saved(lambda: {"models": {"tuned": ada()["G_ema"]}}), "models.tuned"),
    "G in a tuple": (pickled(lambda: (ada()["G_ema"], [1, 2])), "0"),
    "Gs alone": (pickled(lambda: tensorflow()[2]), "generator"),
    "Gs in a list": (pickled(lambda: [None, tensorflow()[2]]), "1"),
    "Gs in a dict": (pickled(lambda: dict(zip(("G", "D", "Gs"), tensorflow(), strict=True))), "G_ema"),
    "bare state dict": (saved(rosinality), "generator"),
    "bare state dict, stream": (saved(rosinality, legacy=True), "generator"),
    "state dict under another key": (saved(lambda: {"state_dict": rosinality()}), "state_dict"),
    "state dicts of wrapped networks": (
        saved(lambda: {name: rosinality("module.") for name in ("g", "g_ema")}),
        "G_ema",
    ),
    **{
        f"prefix {prefix}": (saved(lambda prefix=prefix: rosinality(prefix)), "generator")
        for prefix in ("module.", "generator.", "decoder.", "g_ema.", "module.decoder.")
    },
}


@pytest.mark.parametrize("case", ALONE)
def test_a_network_alone_is_converted(tmp_path: Path, case: str) -> None:
    """Protects: the one generator of a file is found wherever it is, and the checkpoint says what it was called."""
    write, name = ALONE[case]
    result = prepared(write(tmp_path / "source"))
    check(result)
    assert result.metadata["network"] == name


def test_reported_bare_generator(cases: Path, tmp_path: Path) -> None:
    """Protects: the reported file of `torch.save(G)`."""
    convert(cases / "torch_bare_generator.pt", tmp_path / "G")
    assert jaxedit.load(tmp_path / "G").config.resolution == 32


@pytest.mark.parametrize("rows", [None, 1, 8], ids=["one vector", "one row", "equal rows"])
def test_decoders_of_encoders_are_converted(tmp_path: Path, rows: int | None) -> None:
    """Protects: pSp's and e4e's checkpoints: the decoder, strictly, with the average; the encoder is left out aloud."""
    (params, _), _ = pairs({})
    state = rosinality("decoder.", without="latent_avg")
    state["encoder.input_layer.0.weight"] = Tensor(np.zeros((4, 3, 3, 3), np.float32))
    average = params["mapping"]["w_avg"]
    average = average if rows is None else np.tile(average, (rows, 1))
    content = {"state_dict": state, "latent_avg": Tensor(average), "opts": {"device": "cuda:0", "id_lambda": 0.1}}
    result = prepared(pickles.torch_save(tmp_path / "psp.pt", content))
    check(result)
    assert "note: left out, beside the generator: encoder" in result.metadata["notes"]
    state["decoder.more"] = Tensor(np.zeros(2, np.float32))
    del state["decoder.conv1.activate.bias"]
    with pytest.raises(ConversionError, match=r"1 missing \(conv1.activate.bias\); 1 unexpected \(more\)"):
        prepared(pickles.torch_save(tmp_path / "psp.pt", content))


def test_an_average_of_rows_that_differ_is_refused(tmp_path: Path) -> None:
    """Protects: no row is preferred in silence."""
    content = {"g_ema": rosinality(without="latent_avg"), "latent_avg": Tensor(np.eye(8, 20, dtype=np.float32))}
    with pytest.raises(ConversionError, match=r"latent_avg \(8, 20\), expected \(20,\)"):
        prepared(pickles.torch_save(tmp_path / "x.pt", content))


def test_several_generators_are_listed(tmp_path: Path) -> None:
    """Protects: nothing is chosen at random; the message says the names and the option, and the option works."""
    source = pickles.pickled(tmp_path / "x.pkl", {"old": ada()["G"], "new": ada()["G_ema"], "critic": ada()["D"]})
    with pytest.raises(ConversionError, match="several generators") as error:
        prepared(source)
    for part in ("--network NAME", "old (generator)", "new (generator)", "critic (discriminator)"):
        assert part in str(error.value)
    check(prepared(source, "new"))
    check(prepared(source, "critic"))


def test_discriminators_alone(tmp_path: Path) -> None:
    """Protects: a discriminator is never converted for a generator, but is on request."""
    source = pickles.pickled(tmp_path / "x.pkl", ada()["D"])
    with pytest.raises(ConversionError, match=r"no generator.* discriminator \(discriminator\)"):
        prepared(source)
    check(prepared(source, "discriminator"))


def test_the_training_generator_is_converted_aloud(tmp_path: Path) -> None:
    """Protects: a file without the average of the generators is converted, and the user is told."""
    objects = ada()
    result = prepared(pickles.pickled(tmp_path / "x.pkl", {"G": objects["G_ema"], "D": objects["D"]}))
    check(result)
    assert any(line.startswith("note: G is the last state of the training") for line in result.metadata["notes"])


def test_noise_maps_are_seeded_where_there_are_none(tmp_path: Path) -> None:
    """Protects: rosinality's models from before January 2020 convert, always to the same maps."""
    source = pickles.torch_save(tmp_path / "x.pt", {"g_ema": rosinality(without="noises.")})
    result = prepared(source)
    assert standins.NOISE in result.metadata["notes"]
    random = np.random.RandomState(0)
    for layer in ("b4/conv1", "b8/conv0", "b8/conv1", "b16/conv0", "b16/conv1", "b32/conv0", "b32/conv1"):
        size = int(layer[1:].split("/")[0])
        noise = result.arrays[f"synthesis/{layer}/noise_const"]
        np.testing.assert_array_equal(noise, random.randn(size, size).astype(np.float32))


def test_some_missing_noise_maps_are_refused(tmp_path: Path) -> None:
    """Protects: a file that has lost one of its maps is damaged, not old."""
    source = pickles.torch_save(tmp_path / "x.pt", {"g_ema": rosinality(without="noises.noise_3")})
    with pytest.raises(ConversionError, match=r"1 missing \(noises.noise_3\)"):
        prepared(source)


def test_reported_file_without_noise_maps(cases: Path, tmp_path: Path) -> None:
    """Protects: the reported kind of file."""
    assert any("noise maps" in line for line in convert(cases / "rosinality_without_noise_maps.pt", tmp_path / "G"))


def test_averages_of_wide_latents_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a small file with a mapping of 65536 inputs does not take gigabytes; batches give the same average."""

    (params, config), _ = pairs({})
    arrays = {
        f"mapping/{name}/{part}": params["mapping"][name][part]
        for name in ("fc0", "fc1")
        for part in ("kernel", "bias")
    }
    whole = standins.average_w(arrays, config)
    monkeypatch.setattr(standins, "MAX_NUMBERS", 1000)
    np.testing.assert_allclose(standins.average_w(arrays, config), whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())


# Options of forks, which say nothing new or only concern training.

TENSORFLOW = {
    "resolution_h": 32,
    "resolution_w": 32,
    "min_h": 4,
    "min_w": 4,
    "res_log2": 3,
    "init_res": [4, 4],
    "use_attention": False,
    "fmap_min": 8,
    "dtype": "float16",
    "impl": "ref",
    "verbose": True,
}


@pytest.mark.parametrize("network", ["G_ema", "D"])
def test_tensorflow_options_that_say_nothing_new(tmp_path: Path, network: str) -> None:
    """Protects: files of forks whose options name what the official ones leave implicit."""
    objects = tensorflow()
    objects[1 if network == "D" else 2].static_kwargs |= TENSORFLOW | ({"avg_pooling": False} if network == "D" else {})
    check(prepared(pickles.pickled(tmp_path / "x.pkl", objects), network))


@pytest.mark.parametrize("options", [{"resolution_h": 32, "resolution_w": 32}, {"res_log2": 3, "min_h": 4, "min_w": 4}])
def test_tensorflow_resolution_in_other_words_alone(tmp_path: Path, options: dict[str, int]) -> None:
    """Protects: networks that say their resolution only in a fork's way."""
    objects = tensorflow(**options)
    del objects[2].static_kwargs["resolution"]
    check(prepared(pickles.pickled(tmp_path / "x.pkl", objects)))


def test_tensorflow_counters_of_training(tmp_path: Path) -> None:
    """Protects: variables of forks that count epochs are no weights."""
    objects = tensorflow()
    objects[2].variables += [("epochs", np.float32(3)), ("epochs_1", np.float32(3))]
    check(prepared(pickles.pickled(tmp_path / "x.pkl", objects)))


def test_pytorch_options_that_say_nothing_new(tmp_path: Path) -> None:
    """Protects: files of forks of the PyTorch code."""
    objects = ada()
    options = objects["G_ema"].state["_init_kwargs"]
    options.update(epochs=12.0, init_res=[4, 4], interp_embed=False)
    options["mapping_kwargs"].update(freeze_layers=2, freeze_embed=True)
    objects["D"].state["_init_kwargs"].update(init_res=(4, 4), interp_embed=False, inst_noise_sigma=0)
    source = pickles.pickled(tmp_path / "x.pkl", objects)
    check(prepared(source))
    check(prepared(source, "D"))


OTHER_ARCHITECTURES = {
    "wide": (tensorflow, {"resolution_h": 32, "resolution_w": 64}, "only square images"),
    "wide start": (tensorflow, {"min_h": 4, "min_w": 6, "res_log2": 3}, "only square images"),
    "start of 8": (tensorflow, {"init_res": [8, 8]}, "only square images of a power of two"),
    "another number of doublings": (tensorflow, {"res_log2": 4}, "res_log2 means 64 pixels, resolution is 32"),
    "attention": (tensorflow, {"use_attention": True}, "use_attention is True"),
    "widened channels": (tensorflow, {"fmap_min": 20}, "fmap_min is 20"),
    "resolution of another type": (tensorflow, {"resolution_h": "32"}, "resolution_h is '32'"),
    "PyTorch, wide start": (ada, {"init_res": [4, 6]}, "only square images"),
    "PyTorch, interpolated labels": (ada, {"interp_embed": True}, "interp_embed is True"),
}


@pytest.mark.parametrize("case", OTHER_ARCHITECTURES)
def test_options_of_other_architectures_are_refused(tmp_path: Path, case: str) -> None:
    """Protects: an option is ignored only at the value at which it changes nothing."""
    make, options, message = OTHER_ARCHITECTURES[case]
    objects = make(**options) if make is tensorflow else make()
    if make is ada:
        objects["G_ema"].state["_init_kwargs"].update(options)
    with pytest.raises(ConversionError, match=message):
        prepared(pickles.pickled(tmp_path / "x.pkl", objects))


@pytest.mark.parametrize("name, option", [("avg_pooling", True), ("inst_noise_sigma", 0.1)])
def test_options_of_other_discriminators_are_refused(tmp_path: Path, name: str, option: Any) -> None:
    """Protects: the same for discriminators."""
    objects: Any = tensorflow() if name == "avg_pooling" else ada()
    if name == "avg_pooling":
        objects[1].static_kwargs[name] = option
    else:
        objects["D"].state["_init_kwargs"][name] = option
    with pytest.raises(ConversionError, match=f"{name} is {option}"):
        prepared(pickles.pickled(tmp_path / "x.pkl", objects), "D")


def test_reported_tensorflow_options(cases: Path, tmp_path: Path) -> None:
    """Protects: the reported files: the square one converts, the wide one is refused for being wide."""
    convert(cases / "tensorflow_resolution_h_w.pkl", tmp_path / "G")
    with pytest.raises(ConversionError, match="only square images"):
        convert(cases / "tensorflow_wide_is_refused.pkl", tmp_path / "wide")


# Files that are known and not read.


def state(*names: str) -> Callable[[], Any]:
    return lambda: {name: Tensor(np.zeros(2, np.float32)) for name in names}


KNOWN: dict[str, tuple[Write, str]] = {
    "GPEN": (saved(lambda: rosinality("generator.") | state("ecd0.0.0.weight")()), "GPEN"),
    "GFPGAN": (saved(lambda: {"params_ema": state("stylegan_decoder.style_mlp.1.weight")()}), "GFPGAN"),
    "BasicSR": (saved(lambda: {"params_ema": state("constant_input.weight")()}), "BasicSR"),
    "genforce": (saved(lambda: {"generator": state("synthesis.early_layer.const")()}), "genforce"),
    "lucidrains": (saved(lambda: {"GAN": state("S.net.0.weight", "G.initial_block")()}), "lucidrains"),
    "style-based-gan": (saved(lambda: {"g_running": state("generator.progression.0.conv1.input")()}), "StyleGAN1"),
    "StyleGAN3 state dict": (saved(state("mapping.fc0.weight", "synthesis.input.freqs")), "StyleGAN3"),
    "ada state dict": (saved(state("synthesis.b4.const")), "save the network itself"),
    "ada discriminator's state dict": (saved(state("b4.fc.weight")), "discriminator"),
    "optimizer": (saved(lambda: {"state": {0: {"exp_avg": state("x")()["x"]}}, "param_groups": []}), "optimizer"),
    "LPIPS": (saved(state("lin0.model.1.weight")), "LPIPS"),
    "VGG": (saved(state("features.0.weight", "classifier.0.weight")), "VGG"),
    "encoder": (saved(state("input_layer.0.weight")), "IR-SE"),
    "a direction": (saved(lambda: Tensor(np.zeros((1, 512), np.float32))), "direction"),
    "a list of latents": (pickled(lambda: [np.zeros((18, 512), np.float32)] * 2), "latents"),
    "StyleGAN1": (pickled(lambda: [_renamed("G_style")]), "StyleGAN1"),
    "StyleGAN2 config D": (pickled(lambda: [_renamed("G_synthesis_stylegan_revised")]), "config A to D"),
    "EG3D": (pickled(lambda: {"G_ema": official.Module("TriPlaneGenerator")}), "TriPlaneGenerator"),
    "Git LFS": (lambda path: _written(path, b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "web page": (lambda path: _written(path, b"\n<!DOCTYPE html><html>Quota exceeded</html>"), "web page"),
    "HDF5": (lambda path: _written(path, b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
    "ProgressiveGAN of Theano": (
        lambda path: _written(path, b"\x80\x02" + b"cnetwork\nNetwork\n)\x81}b" * 3 + b"\x87."),
        "a ProgressiveGAN of its Theano code, which misc.load_pkl and misc.save_pkl",
    ),
}


def _renamed(function: str) -> Any:
    network = tensorflow()[2]
    network.build_func_name = function
    return network


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", KNOWN)
def test_known_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """Protects: who has the wrong file is told what it is, in one line, and nothing is written."""
    write, message = KNOWN[case]
    source = write(tmp_path / "source")
    assert main([str(source), str(tmp_path / "G")]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_info_names_what_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: `--info` says the same, and lists the tensors."""
    source = pickles.torch_save(tmp_path / "x.pt", state("lin0.model.1.weight")())
    assert main([str(source), "--info"]) == 0
    out = capsys.readouterr().out
    assert "LPIPS" in out and "lin0.model.1.weight (2,) float32" in out


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """Protects: a network that has diverged, or whose numbers float32 cannot hold, is not converted in silence."""
    for value, dtype in ((np.nan, np.float32), (np.inf, np.float32), (1e300, np.float64)):
        content = rosinality()
        content["conv1.activate.bias"] = Tensor(np.full(32, value, dtype))
        source = pickles.torch_save(tmp_path / "x.pt", content)
        with pytest.raises(ConversionError, match="not finite, in synthesis/b4/conv1/bias"):
            prepared(source)


def test_lists_of_the_same_dict_are_searched_once(tmp_path: Path) -> None:
    """Protects: a large dict that is mentioned often takes the time of one."""
    large = {str(i): None for i in range(100_000)}
    source = tmp_path / "x.pkl"
    source.write_bytes(pickle.dumps([large] * 9000, protocol=4))
    with pytest.raises(ConversionError, match="no network of a known format"):
        prepared(source)
