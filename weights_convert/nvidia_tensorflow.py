"""NVIDIA's TensorFlow pickles (stylegan2, stylegan2-ada): a tuple (G, D, Gs) of `dnnlib.tflib.network.Network`."""

from typing import Any

from weights_convert.errors import ConversionError, described
from weights_convert.options import STYLEGAN2, Network, Options, Role, add_tensor, channels, resolution
from weights_convert.tensors import Tensor
from weights_convert.unpickle import Record

CLASS = "dnnlib.tflib.network.Network"
FIR = [1, 3, 3, 1]
MAX_COMPONENTS = 16
SIZES = ("resolution_h", "resolution_w")

# Build functions of other networks than StyleGAN2's skip generator and residual discriminator.
OTHER_FUNCTIONS = {
    "G_style": "StyleGAN1",
    "D_basic": "StyleGAN1",
    "G_synthesis_stylegan_revised": "StyleGAN2 config A to D",
    "D_stylegan": "StyleGAN2 config A to D",
    "G_paper": "the progressive GAN before StyleGAN",
    "D_paper": "the progressive GAN before StyleGAN",
}


def role(value: Any) -> Role | None:
    """What a value of the file is; None when it is no network. That it is StyleGAN2's is found out by `network`."""
    if type(value) is not Record or value.kind != CLASS:
        return None
    function = value.state.get("build_func_name")
    is_generator = function.startswith("G") if type(function) is str else value.state.get("components")
    return "generator" if is_generator else "discriminator"


def network(name: str, role: Role, source: Record) -> Network:
    """Reads one network. Its source code, which the official loader executes, is left alone."""
    tensors: dict[str, Tensor] = {}
    _collect(tensors, "", source, [])
    options = Options(name, source.state.get("static_kwargs"))
    for variable in tensors:
        if "_lod" in variable:
            raise ConversionError(
                f"{name}: {variable} belongs to a progressive network; supported are StyleGAN2 config E, F and ADA"
            )
    config = _generator(options, tensors) if role == "generator" else _discriminator(options, tensors, source)
    options.finish()
    return Network(STYLEGAN2[role], "tensorflow", config, tensors)


def _collect(tensors: dict[str, Tensor], prefix: str, source: Any, seen: list[Any]) -> None:
    if (
        type(source) is not Record
        or source.kind != CLASS
        or any(source is one for one in seen)
        or len(seen) >= MAX_COMPONENTS
    ):
        raise ConversionError("a network with malformed components")
    seen.append(source)
    state = source.state
    function, components, variables = state.get("build_func_name"), state.get("components"), state.get("variables")
    if type(function) is str and function in OTHER_FUNCTIONS:
        raise ConversionError(
            f"a network built by {function}, {OTHER_FUNCTIONS[function]}; supported are StyleGAN2 config E, F and ADA"
        )
    if type(components) is not dict or type(variables) is not list:
        version = described(state.get("version"))
        raise ConversionError(f"a network of version {version} without components or variables, so not StyleGAN2")
    add_variables(tensors, prefix, variables)
    for component, child in components.items():
        _collect(tensors, f"{prefix}{component}/", child, seen)


def add_variables(tensors: dict[str, Tensor], prefix: str, variables: Any) -> None:
    """Puts the variables of a network under their names."""
    if type(variables) is not list:
        raise ConversionError("a network without a list of variables")
    for variable in variables:
        if type(variable) is not tuple or len(variable) != 2 or type(variable[0]) is not str:
            raise ConversionError("a variable that is not a pair of name and array")
        add_tensor(tensors, prefix + variable[0], variable[1])


def _shared(options: Options) -> dict[str, Any]:
    """Options that both networks have, with the defaults of the official build functions and of their forks."""
    options.require("nonlinearity", "lrelu")
    options.require("resample_kernel", FIR)
    options.require("dtype", "float32", "float16")  # computed in; the variables have a type of their own
    options.require("fmap_decay", 1)
    options.require("use_attention", False)
    options.ignore("num_fp16_res", "structure", "conditioning", "impl", "verbose")
    config: dict[str, Any] = dict(
        resolution=_resolution(options),
        c_dim=options.integer("label_size", 0, 0),
        channel_base=2 * options.integer("fmap_base", 16384, 1, 1 << 19),
        channel_max=options.integer("fmap_max", 512),
        image_channels=options.integer("num_channels", 3, 1, 64),
        conv_clamp=options.number("conv_clamp", None),
    )
    options.integer("fmap_min", 1, 0, channels(config, config["resolution"]))
    return config


def _resolution(options: Options) -> int:
    """The resolution, which some forks say as height and width, or as a number of doublings, in addition or alone."""
    sizes = {name: options.integer(name, 1024, 4, 4096) for name in SIZES if options.get(name, -1) != -1}
    if options.get("res_log2") is not None:
        sizes["res_log2"] = 4 << options.integer("res_log2", 8, 1, 10)
    size = resolution(options, "resolution", max(sizes.values(), default=1024))
    for name, value in sizes.items():
        if value != size:
            raise ConversionError(
                f"{options.where}: {name} means {value} pixels, resolution is {size}; only square images are supported"
            )
    return size


def _generator(options: Options, tensors: dict[str, Tensor]) -> dict[str, Any]:
    config = _shared(options)
    w_dim = options.integer("dlatent_size", 512)
    options.require("architecture", "skip")
    options.require("mapping_nonlinearity", "lrelu")
    options.require("mapping_fmaps", None, w_dim)
    options.require("label_fmaps", None, w_dim)
    options.require("fmap_const", None, channels(config, 4))
    options.require("use_noise", True)
    options.require("normalize_latents", True)
    options.require("mapping_func", "G_mapping")
    options.require("synthesis_func", "G_synthesis", "G_synthesis_stylegan2")
    options.ignore(
        "truncation_psi", "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "style_mixing_prob"
    )
    options.ignore("dlatent_avg_beta", "w_avg_beta", "randomize_noise", "fused_modconv")
    if "mapping/LabelConcat/weight" in tensors:
        raise ConversionError(
            "a conditional network of the original StyleGAN2 (LabelConcat) is not supported; ADA's form is"
        )
    lr_multiplier = options.number("mapping_lrmul", 0.01)
    return config | dict(
        z_dim=options.integer("latent_size", 512),
        w_dim=w_dim,
        mapping_layers=options.integer("mapping_layers", 8, 1, 64),
        mapping_lr_multiplier=lr_multiplier,
    )


def _discriminator(options: Options, tensors: dict[str, Tensor], source: Record) -> dict[str, Any]:
    config = _shared(options)
    options.require("architecture", "resnet")
    options.require("mapping_fmaps", None, channels(config, 4))
    options.require("use_pagan", False)
    options.require("score_size", 1)
    options.require("score_max", 1)
    options.require("use_spectral_norm", False)
    options.require("adaptive_dropout", 0)
    options.require("avg_pooling", False)
    options.ignore("augment_strength", "pagan_num", "pagan_fade", "freeze_layers")
    if config["c_dim"] and "LabelEmbed/weight" not in tensors:
        raise ConversionError("a conditional discriminator of the original StyleGAN2 is not supported; ADA's form is")
    mapping_layers = options.integer("mapping_layers", 0, 0, 64)
    lr_multiplier = options.number("mapping_lrmul", 0.1)
    original = source.state.get("build_func_name") == "D_stylegan2"  # its default group is 4, ADA's the whole batch
    group = options.whole_or_none("mbstd_group_size", 4 if original else None)
    config |= dict(mbstd_group_size=group, mbstd_channels=options.integer("mbstd_num_features", 1, 0, 64))
    if config["c_dim"]:
        config |= dict(mapping_layers=mapping_layers, mapping_lr_multiplier=lr_multiplier)
    return config
