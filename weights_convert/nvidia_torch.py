"""NVIDIA's PyTorch pickles (stylegan2-ada-pytorch, and StyleGAN2 networks of the stylegan3 repository)."""

from typing import Any

from weights_convert.errors import ConversionError, printable
from weights_convert.options import STYLEGAN2, Network, Options, Role, add_tensor, channels, plain, resolution
from weights_convert.tensors import Tensor
from weights_convert.unpickle import Record

FIR = [1, 3, 3, 1]
MAX_DEPTH = 8
MAX_MODULES = 1000
GENERATOR_ARGUMENTS = (
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "img_channels",
    "mapping_kwargs",
    "synthesis_kwargs",
)
DISCRIMINATOR_ARGUMENTS = ("c_dim", "img_resolution", "img_channels")


def role(value: Any) -> Role | None:
    """What a value of the file is; None when it is no network. That it is StyleGAN2's is found out by `network`."""
    modules = value.state.get("_modules") if type(value) is Record else None
    if type(value) is not Record or type(modules) is not dict:
        return None
    if "Discriminator" in value.kind:
        return "discriminator"
    return "generator" if "Generator" in value.kind or {"mapping", "synthesis"} <= set(modules) else None


def network(name: str, role: Role, source: Record) -> Network:
    """Reads one network. Its source code, which the official loader executes, is left alone."""
    is_generator = role == "generator"
    if source.kind != ("Generator" if is_generator else "Discriminator"):
        raise ConversionError(f"{name} is a {printable(source.kind, 100)}, not a StyleGAN2 network")
    tensors: dict[str, Tensor] = {}
    _collect(tensors, "", source, {})
    if is_generator and "synthesis.b4.const" not in tensors:
        raise ConversionError(
            f"{name} is not a StyleGAN2 generator (no synthesis.b4.const; StyleGAN3 is not supported)"
        )
    options = _options(name, source, GENERATOR_ARGUMENTS if is_generator else DISCRIMINATOR_ARGUMENTS)
    options.require("interp_embed", False)
    config = _generator(options, source) if is_generator else _discriminator(options, source)
    return Network(STYLEGAN2[role], "ada", config, tensors)


def _collect(tensors: dict[str, Tensor], prefix: str, module: Any, seen: dict[int, Any]) -> None:
    """Parameters and buffers under their state-dict names."""
    if type(module) is not Record or id(module) in seen or len(seen) > MAX_MODULES or prefix.count(".") > MAX_DEPTH:
        raise ConversionError(f"{printable(prefix, 200)} is no module, a module twice, or nested too deeply")
    seen[id(module)] = module
    for group in ("_parameters", "_buffers"):
        for name, value in _members(module, group).items():
            if value is not None:
                add_tensor(tensors, prefix + name, value)
    for name, child in _members(module, "_modules").items():
        if child is not None:
            _collect(tensors, f"{prefix}{name}.", child, seen)


def _members(module: Any, group: str) -> dict[str, Any]:
    members = module.state.get(group) if type(module) is Record else None
    if type(members) is not dict or not all(type(name) is str for name in members):
        raise ConversionError(f"a module without {group}")
    return members


def _options(name: str, source: Record, arguments: tuple[str, ...]) -> Options:
    """The arguments the network was constructed with, positional ones by their names."""
    positional, keywords = source.state.get("_init_args", ()), source.state.get("_init_kwargs")
    if type(positional) is not tuple or type(keywords) is not dict or len(positional) > len(arguments):
        raise ConversionError(f"{name} does not say how it was constructed")
    return Options(name, dict(zip(arguments, positional, strict=False)) | keywords)


def _built_with(source: Record, path: str, attribute: str) -> Any:
    """An attribute of a layer: what the defaults became, which differ between NVIDIA's two repositories."""
    module: Any = source
    for part in path.split("."):
        module = _members(module, "_modules").get(part)
    if type(module) is not Record or attribute not in module.state:
        raise ConversionError(f"{path} does not have the attribute {attribute}")
    return plain(module.state[attribute])


def _shared(options: Options, block: Options, source: Record, layer: str) -> dict[str, Any]:
    block.require("activation", "lrelu")
    block.require("resample_filter", FIR)
    block.ignore("fp16_channels_last")
    options.ignore("num_fp16_res")
    clamp = Options(layer, {"conv_clamp": _built_with(source, layer, "conv_clamp")}).number("conv_clamp", None)
    return dict(conv_clamp=clamp)


def _generator(options: Options, source: Record) -> dict[str, Any]:
    mapping, synthesis = options.group("mapping_kwargs"), options.group("synthesis_kwargs")
    if not synthesis.options:  # the stylegan3 repository has the synthesis options among the network's own
        synthesis = options
    w_dim = options.integer("w_dim", 512)
    config = _shared(synthesis, synthesis, source, "synthesis.b4.conv1") | dict(
        resolution=resolution(options, "img_resolution", 0),
        z_dim=options.integer("z_dim", 512),
        w_dim=w_dim,
        c_dim=options.integer("c_dim", 0, 0),
        image_channels=options.integer("img_channels", 3, 1, 64),
        channel_base=synthesis.integer("channel_base", 32768, 1, 1 << 20),
        channel_max=synthesis.integer("channel_max", 512),
        mapping_layers=mapping.integer("num_layers", 8, 1, 64),
        mapping_lr_multiplier=mapping.number("lr_multiplier", 0.01),
    )
    synthesis.require("architecture", "skip")
    synthesis.require("use_noise", True)
    synthesis.require("kernel_size", 3)
    synthesis.ignore("conv_clamp", "fused_modconv_default")
    mapping.require("activation", "lrelu")
    mapping.require("embed_features", None, w_dim)
    mapping.require("layer_features", None, w_dim)
    mapping.ignore("w_avg_beta", "freeze_layers", "freeze_embed")
    options.ignore("epochs")
    for group in (options, mapping, synthesis):
        group.finish()
    return config


def _discriminator(options: Options, source: Record) -> dict[str, Any]:
    block, mapping, epilogue = (options.group(name) for name in ("block_kwargs", "mapping_kwargs", "epilogue_kwargs"))
    config = _shared(options, block, source, "b4.conv") | dict(
        resolution=resolution(options, "img_resolution", 0),
        c_dim=options.integer("c_dim", 0, 0),
        image_channels=options.integer("img_channels", 3, 1, 64),
        channel_base=options.integer("channel_base", 32768, 1, 1 << 20),
        channel_max=options.integer("channel_max", 512),
        mbstd_group_size=epilogue.whole_or_none("mbstd_group_size", 4),
        mbstd_channels=epilogue.integer("mbstd_num_channels", 1, 0, 64),
    )
    label = dict(
        mapping_layers=mapping.integer("num_layers", 8, 0, 64),
        mapping_lr_multiplier=mapping.number("lr_multiplier", 0.01),
    )
    options.require("architecture", "resnet")
    options.require("cmap_dim", None, channels(config, 4))
    options.require("inst_noise_sigma", 0)
    options.ignore("conv_clamp")
    block.ignore("freeze_layers")
    mapping.require("activation", "lrelu")
    mapping.require("embed_features", None, channels(config, 4))
    mapping.require("layer_features", None, channels(config, 4))
    mapping.ignore("w_avg_beta", "freeze_layers", "freeze_embed")
    epilogue.require("activation", "lrelu")
    for group in (options, block, mapping, epilogue):
        group.finish()
    return config | label if config["c_dim"] else config
