"""Writes checkpoints in the official layouts, from parameter trees, without TensorFlow or PyTorch.

Independent of `weights_convert`: names, transposes, flips and gains are written out again here, from what the official
code does, so that a mistake in the name tables cannot cancel itself.
"""

import argparse
import collections
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from official_pickles import EasyDict, Network, Parameter, Reconstruct, Tensor, pickled, torch_save

from jaxedit import families

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


def random_params(config: Any, seed: int = 0) -> dict[str, Any]:
    """A parameter tree of multiples of 1/256, so that TensorFlow's missing one in the affine biases is exact."""
    random = np.random.RandomState(seed)
    target = _abstract_params(config)
    return jax.tree.map(lambda leaf: np.float32(random.randint(-512, 512, leaf.shape) / 256), target)


_abstract_params = functools.cache(families.abstract_params)  # tracing takes longer than all the rest


# The networks' tensors under each format's names.


def _affines(params: Any, config: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    ends = np.cumsum([layer.width for layer in config.style_layers])[:-1]
    affine = params["synthesis"]["affine"]
    kernels, biases = np.split(affine["kernel"], ends, axis=1), np.split(affine["bias"], ends)
    return {
        layer.name: pair for layer, pair in zip(config.style_layers, zip(kernels, biases, strict=True), strict=True)
    }


def tensorflow_generator(params: Any, config: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Variables of the network itself, of its mapping and of its synthesis component."""
    mapping: dict[str, Any] = {}
    for name, layer in params["mapping"].items():
        if name != "w_avg":
            own = name.replace("fc", "Dense").replace("embed", "LabelEmbed")
            mapping |= {f"{own}/weight": layer["kernel"], f"{own}/bias": layer["bias"]}
    synthesis: dict[str, Any] = {"4x4/Const/const": params["synthesis"]["const"].transpose(2, 0, 1)[None]}
    noise: list[np.ndarray] = []
    for name, (kernel, bias) in _affines(params, config).items():
        block, part = name.split(".")
        r = block[1:]
        own = {"conv0": "Conv0_up", "conv1": "Conv" if r == "4" else "Conv1", "torgb": "ToRGB"}[part]
        layer, prefix = params["synthesis"][block][part], f"{r}x{r}/{own}/"
        weight = layer["kernel"][None, None] if part == "torgb" else layer["kernel"]
        synthesis |= {prefix + "weight": weight, prefix + "bias": layer["bias"]}
        synthesis |= {prefix + "mod_weight": kernel, prefix + "mod_bias": bias - 1}
        if part != "torgb":
            synthesis[prefix + "noise_strength"] = np.float32(layer["noise_strength"])
            noise.append(layer["noise_const"][None, None])
    synthesis |= {f"noise{i}": values for i, values in enumerate(noise)}
    return {"lod": np.float32(0), "dlatent_avg": params["mapping"]["w_avg"]}, mapping, synthesis


def ada_generator(params: Any, config: Any) -> dict[str, np.ndarray]:
    """The state dict of the PyTorch network."""
    state = {"mapping.w_avg": params["mapping"]["w_avg"]}
    for name, layer in params["mapping"].items():
        if name != "w_avg":
            state |= {f"mapping.{name}.weight": layer["kernel"].T, f"mapping.{name}.bias": layer["bias"]}
    state["synthesis.b4.const"] = params["synthesis"]["const"].transpose(2, 0, 1)
    for name, (kernel, bias) in _affines(params, config).items():
        block, part = name.split(".")
        layer, prefix = params["synthesis"][block][part], f"synthesis.{name}."
        state[f"synthesis.{block}.resample_filter"] = FIR
        if part == "torgb":
            state[prefix + "weight"] = layer["kernel"].T[:, :, None, None]
        else:
            flipped = layer["kernel"][::-1, ::-1] if part == "conv0" else layer["kernel"]
            state[prefix + "weight"] = flipped.transpose(3, 2, 0, 1)
            state |= {prefix + own: layer[own] for own in ("noise_const", "noise_strength")}
            state[prefix + "resample_filter"] = FIR
        state |= {prefix + "bias": layer["bias"], prefix + "affine.weight": kernel.T, prefix + "affine.bias": bias}
    return state


def rosinality_generator(params: Any, config: Any) -> dict[str, np.ndarray]:
    """The state dict of rosinality's network, without `latent_avg`."""
    state: dict[str, np.ndarray] = {}
    for i in range(config.mapping_layers):
        layer = params["mapping"][f"fc{i}"]
        state |= {f"style.{i + 1}.weight": layer["kernel"].T, f"style.{i + 1}.bias": layer["bias"]}
    state["input.input"] = params["synthesis"]["const"].transpose(2, 0, 1)[None]
    convolutions = colours = 0
    for name, (kernel, bias) in _affines(params, config).items():
        block, part = name.split(".")
        layer = params["synthesis"][block][part]
        if part == "torgb":
            prefix = f"to_rgbs.{colours - 1}." if colours else "to_rgb1."
            state[prefix + "conv.weight"] = layer["kernel"].T[None, :, :, None, None]
            state[prefix + "bias"] = layer["bias"][None, :, None, None]
            if colours:
                state[prefix + "upsample.kernel"] = 4 * FIR
            colours += 1
        else:
            prefix = f"convs.{convolutions - 1}." if convolutions else "conv1."
            flipped = layer["kernel"][::-1, ::-1] if part == "conv0" else layer["kernel"]
            state[prefix + "conv.weight"] = flipped.transpose(3, 2, 0, 1)[None]
            state[prefix + "noise.weight"] = layer["noise_strength"].reshape(1)
            state[prefix + "activate.bias"] = layer["bias"]
            state[f"noises.noise_{convolutions}"] = layer["noise_const"][None, None]
            if part == "conv0":
                state[prefix + "conv.blur.kernel"] = 4 * FIR
            convolutions += 1
        state |= {prefix + "conv.modulation.weight": kernel.T, prefix + "conv.modulation.bias": bias}
    return state


def _rows_to_channels_first(kernel: np.ndarray) -> np.ndarray:
    rows, columns = kernel.shape
    return kernel.reshape(4, 4, rows // 16, columns).transpose(2, 0, 1, 3).reshape(rows, columns)


def tensorflow_discriminator(params: Any) -> dict[str, np.ndarray]:
    """The variables of the TensorFlow network."""
    names = {
        "fromrgb": "FromRGB",
        "conv0": "Conv0",
        "conv1": "Conv1_down",
        "skip": "Skip",
        "conv": "Conv",
        "fc": "Dense0",
    }
    variables: dict[str, np.ndarray] = {}
    for group, layers in params.items():
        for name, layer in layers.items():
            own = f"{group[1:]}x{group[1:]}/{names.get(name)}" if name != "out" else "Output"
            if group == "mapping":
                own = name.replace("fc", "Mapping").replace("embed", "LabelEmbed")
            kernel = layer["kernel"]
            if name in ("fromrgb", "skip"):
                kernel = kernel[None, None]
            if own == "4x4/Dense0":
                kernel = _rows_to_channels_first(kernel)
            variables[own + "/weight"] = kernel
            if "bias" in layer:
                variables[own + "/bias"] = layer["bias"]
    return variables


def ada_discriminator(params: Any) -> dict[str, np.ndarray]:
    """The state dict of the PyTorch network."""
    state: dict[str, np.ndarray] = {}
    for group, layers in params.items():
        if group not in ("b4", "mapping"):
            state[f"{group}.resample_filter"] = FIR
        for name, layer in layers.items():
            kernel = layer["kernel"]
            if name in ("fromrgb", "skip"):
                kernel = kernel.T[:, :, None, None]
            elif kernel.ndim == 4:
                kernel = kernel.transpose(3, 2, 0, 1)
            elif (group, name) == ("b4", "fc"):
                kernel = _rows_to_channels_first(kernel).T
            else:
                kernel = kernel.T
            state[f"{group}.{name}.weight"] = kernel
            if kernel.ndim == 4:
                state[f"{group}.{name}.resample_filter"] = FIR
            if "bias" in layer:
                state[f"{group}.{name}.bias"] = layer["bias"]
    return state


def rosinality_discriminator(params: Any, config: Any) -> dict[str, np.ndarray]:
    """The state dict of rosinality's network."""
    ada, r = ada_discriminator(params), config.resolution
    state = {"convs.0.0.weight": ada[f"b{r}.fromrgb.weight"], "convs.0.1.bias": ada[f"b{r}.fromrgb.bias"]}
    index = 1
    while r > 4:
        own = f"convs.{index}."
        state |= {own + "conv1.0.weight": ada[f"b{r}.conv0.weight"], own + "conv1.1.bias": ada[f"b{r}.conv0.bias"]}
        state |= {own + "conv2.1.weight": ada[f"b{r}.conv1.weight"], own + "conv2.2.bias": ada[f"b{r}.conv1.bias"]}
        state |= {
            own + "conv2.0.kernel": FIR,
            own + "skip.0.kernel": FIR,
            own + "skip.1.weight": ada[f"b{r}.skip.weight"],
        }
        r, index = r // 2, index + 1
    state |= {"final_conv.0.weight": ada["b4.conv.weight"], "final_conv.1.bias": ada["b4.conv.bias"]}
    for i, name in enumerate(("fc", "out")):
        state |= {
            f"final_linear.{i}.weight": ada[f"b4.{name}.weight"],
            f"final_linear.{i}.bias": ada[f"b4.{name}.bias"],
        }
    return state


# Whole files.


def _network(function: str, options: dict[str, Any], variables: dict[str, Any], **components: Any) -> Any:
    network = Network()
    network.__dict__ |= dict(
        version=4,
        name=function.split("_")[0],
        static_kwargs=dict(options),
        components=dict(components),
        build_module_src="raise SystemExit('the source code in a checkpoint must never run')",
        build_func_name=function,
        variables=list(variables.items()),
    )
    return network


def tensorflow_objects(
    generator: Any, discriminator: Any, *, original: bool = False, **options: Any
) -> tuple[Any, Any, Any]:
    """(G, D, Gs) of `generator` and `discriminator`, both (params, config). G has other numbers than Gs."""
    (params, config), (d_params, d_config) = generator, discriminator
    shared = dict(resolution=config.resolution, num_channels=config.image_channels, label_size=config.c_dim)
    shared |= dict(fmap_base=config.channel_base // 2, fmap_max=config.channel_max)
    if config.conv_clamp is not None:
        shared |= dict(conv_clamp=config.conv_clamp, num_fp16_res=4)
    own = shared | dict(latent_size=config.z_dim, dlatent_size=config.w_dim, mapping_layers=config.mapping_layers)
    own |= dict(mapping_fmaps=config.w_dim) if original else {}
    own |= options

    def network(tree: Any) -> Any:
        top, mapping, synthesis = tensorflow_generator(tree, config)
        if not original:
            del top["lod"]
        function = "G_synthesis_stylegan2" if original else "G_synthesis"
        parts = dict(synthesis=_network(function, own, synthesis), mapping=_network("G_mapping", own, mapping))
        return _network("G_main", own, top, **parts)

    d_options = shared | dict(mbstd_group_size=d_config.mbstd_group_size)
    if d_config.c_dim:
        d_options |= dict(mapping_layers=d_config.mapping_layers, mapping_lrmul=d_config.mapping_lr_multiplier)
    function = "D_stylegan2" if original else "D_main"
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    return network(other), _network(function, d_options, tensorflow_discriminator(d_params)), network(params)


def write_tensorflow(path: Path, generator: Any, discriminator: Any, **options: Any) -> Path:
    """A pickle of stylegan2-ada, or of stylegan2 with `original=True`."""
    return pickled(path, tensorflow_objects(generator, discriminator, **options))


class Module:
    """A persistent PyTorch module: its class's source code and its attributes."""

    def __init__(self, name: str, **attributes: Any):
        self.name = name
        self.state: dict[str, Any] = dict(training=False, _backward_hooks=collections.OrderedDict(), **attributes)
        self.state |= dict(_non_persistent_buffers_set=set(), weight_gain=np.float64(0.5))
        self.state |= {group: collections.OrderedDict() for group in ("_parameters", "_buffers", "_modules")}

    def __reduce__(self) -> Any:
        source = "raise SystemExit('the source code in a checkpoint must never run')"
        meta = dict(type="class", version=6, module_src=source, class_name=self.name, state=self.state)
        return Reconstruct, (meta,)


def module_tree(name: str, state: dict[str, np.ndarray], clamp: float | None, options: Any, args: Any = ()) -> Module:
    """A state dict as nested modules. Convolution weights are stored channels-last, as NVIDIA's fp16 layers are."""
    root = Module(name, _init_args=args, _init_kwargs=options)
    for path, array in state.items():
        *parents, leaf = path.split(".")
        module = root
        for parent in parents:
            module = module.state["_modules"].setdefault(parent, Module("Layer", conv_clamp=clamp))
        buffer = leaf in ("w_avg", "noise_const", "resample_filter")
        value: Any = Tensor(array) if buffer else Parameter(np.array(array, order="C"))
        if array.ndim == 4:
            last = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
            o, i, h, w = array.shape
            value = Parameter(last, strides=(i * h * w, 1, w * i, i), shape=array.shape)
        module.state["_buffers" if buffer else "_parameters"][leaf] = value
    return root


def ada_objects(generator: Any, discriminator: Any, *, stylegan3: bool = False) -> dict[str, Any]:
    """The dict that NVIDIA's training loops pickle. G has other numbers than G_ema."""
    (params, config), (d_params, d_config) = generator, discriminator
    sizes = dict(c_dim=config.c_dim, img_resolution=config.resolution, img_channels=config.image_channels)
    channels = dict(channel_base=config.channel_base, channel_max=config.channel_max)
    clamp = {} if stylegan3 else dict(conv_clamp=config.conv_clamp, num_fp16_res=4)  # stylegan3 relies on its default
    mapping = EasyDict(num_layers=config.mapping_layers)
    own = EasyDict(z_dim=config.z_dim, w_dim=config.w_dim, mapping_kwargs=mapping, **sizes)
    own.update(channels | dict(fused_modconv_default="inference_only") if stylegan3 else {})
    own.update({} if stylegan3 else dict(synthesis_kwargs=EasyDict(**channels, **clamp)))
    label = EasyDict(num_layers=d_config.mapping_layers, lr_multiplier=d_config.mapping_lr_multiplier)
    d_own = EasyDict(block_kwargs=EasyDict(), mapping_kwargs=label, **sizes, **channels, **clamp)
    d_own["epilogue_kwargs"] = EasyDict(mbstd_group_size=d_config.mbstd_group_size)

    def network(tree: Any) -> Module:
        return module_tree("Generator", ada_generator(tree, config), config.conv_clamp, own)

    discriminator_module = module_tree("Discriminator", ada_discriminator(d_params), d_config.conv_clamp, d_own)
    training = dict(class_name="training.dataset.ImageFolderDataset", use_labels=bool(config.c_dim))
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    return dict(
        training_set_kwargs=training, G=network(other), D=discriminator_module, G_ema=network(params), augment_pipe=None
    )


def write_ada(path: Path, generator: Any, discriminator: Any, *, stylegan3: bool = False) -> Path:
    """A pickle of stylegan2-ada-pytorch, or of the stylegan3 repository."""
    return pickled(path, ada_objects(generator, discriminator, stylegan3=stylegan3))


def state_dict(state: dict[str, np.ndarray]) -> Any:
    """A PyTorch state dict."""
    return collections.OrderedDict((name, Tensor(np.array(array, order="C"))) for name, array in state.items())


def write_rosinality(
    path: Path, generator: Any, discriminator: Any, *, legacy: bool = False, average: bool = True
) -> Path:
    """A converted checkpoint, or one of its training script (`average=False`), which has no `latent_avg`."""
    (params, config), (d_params, d_config) = generator, discriminator
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    content = dict(
        g=state_dict(rosinality_generator(other, config)), d=state_dict(rosinality_discriminator(d_params, d_config))
    )
    content["g_ema"] = state_dict(rosinality_generator(params, config))
    if average:
        content["latent_avg"] = Tensor(params["mapping"]["w_avg"])
    else:
        step = {0: dict(step=1, exp_avg=Tensor(np.zeros(3, np.float32)))}
        content |= dict(g_optim=dict(state=step, param_groups=[dict(lr=0.002, betas=(0.0, 0.99), params=[0])]))
        content |= dict(args=argparse.Namespace(size=config.resolution, n_mlp=8, distributed=False), ada_aug_p=0.0)
    return torch_save(path, content, legacy=legacy)
