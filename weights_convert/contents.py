"""Which networks a file holds, wherever in it they are, and the names by which they can be asked for."""

import dataclasses
from collections import deque
from itertools import islice
from typing import Any

from weights_convert import (
    biggan,
    lightning,
    lpips,
    nvidia_tensorflow,
    nvidia_torch,
    openvino,
    progressive,
    rosinality,
    sentence_transformers,
    state_dicts,
    tfjs,
)
from weights_convert.errors import ConversionError, listing
from weights_convert.options import Network, Role
from weights_convert.tensors import Tensor
from weights_convert.unpickle import Record

FORMATS = {
    "NVIDIA TensorFlow pickle": nvidia_tensorflow,
    "NVIDIA PyTorch pickle": nvidia_torch,
    "rosinality PyTorch checkpoint": rosinality,
    "OpenVINO graphs of MobileStyleGAN": openvino,
    "MobileStyleGAN training checkpoint": lightning,
    "LPIPS weights": lpips,
    "BigGAN-deep weights of pytorch-pretrained-BigGAN": biggan,
    "ProgressiveGAN weights of NVIDIA's TensorFlow code or InterFaceGAN": progressive,
    "TensorFlow.js weights of face-api": tfjs,
    "sentence-transformers model": sentence_transformers,
    "PyTorch state dict": state_dicts,
}
OFFICIAL = {"g_ema": "G_ema", "Gs": "G_ema", "g": "G", "d": "D"}  # what others call NVIDIA's G_ema, G and D
MAX_DEPTH = 4
MAX_VALUES = 10_000


@dataclasses.dataclass(frozen=True)
class Found:
    """A network in a file, not yet looked at.

    Attributes:
        format: Which of `FORMATS`.
        role: "generator", "discriminator" or "network".
        content: What the module of the format reads.
        average: The `latent_avg` that lies beside rosinality's state dicts, if any.
        beside: What else lies in the same state dict.
        kind: What `--network` calls such a network; empty where a file tells by itself what it holds.
    """

    format: str
    role: Role
    content: Any
    average: Any = None
    beside: tuple[str, ...] = ()
    kind: str = ""


def networks(content: Any) -> dict[str, Found]:
    """All networks by name, outer ones first; empty when there is none.

    The official names are G_ema, G and D. A network under another key is called by the path to it, one that is all that
    the file holds by its kind or role.
    """
    found: dict[str, Found] = {}
    parts: dict[int, list[tuple[str, Found]]] = {}  # of a dict, which may be mentioned often
    waiting: deque[tuple[tuple[str, ...], Any, Any]] = deque([((), content, None)])
    for _ in range(MAX_VALUES):
        if not waiting:
            break
        path, value, average = waiting.popleft()
        if type(value) is dict:
            average = value.get("latent_avg", average)
        if id(value) not in parts:
            parts[id(value)] = _parts(value)
        for prefix, network in parts[id(value)]:
            own = (*path, prefix) if prefix else path
            _add(found, own, dataclasses.replace(network, average=average))
        if not parts[id(value)] and len(path) < MAX_DEPTH:
            children = islice(_children(value), MAX_VALUES - len(waiting))
            waiting.extend(((*path, key), child, average) for key, child in children)
    return found


def choose(found: dict[str, Found], wanted: str | None) -> list[str]:
    """The names of the networks to convert: the wanted one, else G_ema, else the one generator there is, else all
    networks that are no generators."""
    every = listing(
        [f"{name} ({network.role if network.kind in ('', name) else network.kind})" for name, network in found.items()]
    )
    if wanted is not None and wanted not in found:
        if len(kinds := [name for name, network in found.items() if network.kind == wanted]) == 1:
            return kinds
        raise ConversionError(f"the file has no network {wanted}, it has {every}")
    generators = [name for name, network in found.items() if network.role == "generator"]
    if wanted is None and all(network.role == "network" for network in found.values()):
        return list(found)
    if wanted is None and "G_ema" not in generators and len(generators) != 1:
        what = "several generators" if generators else "no generator"
        raise ConversionError(f"the file has {what}; choose with --network NAME from {every}")
    return [wanted or ("G_ema" if "G_ema" in generators else generators[0])]


def read(found: dict[str, Found], name: str) -> Network:
    """The configuration and tensors of one of the networks."""
    network = found[name]
    generators = [one for one in found.values() if one.role == "generator"]
    content = network.content
    if type(content) is dict and network.average is not None and (name == "G_ema" or generators == [network]):
        content = {**content, "latent_avg": network.average}
    return FORMATS[network.format].network(name, network.role, content)


def others(content: Any, found: dict[str, Found]) -> list[str]:
    """Keys of state dicts that lie beside those found and are none of a known network."""
    known = [network.content for network in found.values() if network.format == "PyTorch state dict"]
    if type(content) is not dict or len(known) < len(found):
        return []
    return [
        str(key)
        for key, value in content.items()
        if type(value) is dict and value and all(type(one) is Tensor for one in value.values())
        if not any(value is one for one in known)
    ]


def _parts(value: Any) -> list[tuple[str, Found]]:
    """The networks that a value is, by their prefix in it ("" unless it is a state dict of several parts)."""
    roles = {name: module.role(value) for name, module in FORMATS.items() if module is not rosinality}
    if whole := [("", _whole(name, role, value)) for name, role in roles.items() if role is not None]:
        return whole
    return [
        (prefix if beside else "", Found("rosinality PyTorch checkpoint", role, tensors, beside=beside))
        for prefix, role, tensors, beside in (rosinality.parts(value) if type(value) is dict else ())
    ]


def _whole(name: str, role: Role, value: Any) -> Found:
    kind = getattr(FORMATS[name], "kind", None)
    return Found(name, role, value, kind="" if kind is None else kind(value))


def _children(value: Any) -> Any:
    """What a container holds, by key; NVIDIA's tuple of three networks has the official names."""
    if type(value) is dict:
        return ((str(key), item) for key, item in value.items())
    if type(value) not in (list, tuple):
        return ()
    networks = (type(item) is Record and (nvidia_tensorflow.role(item) or progressive.role(item)) for item in value)
    official = len(value) == 3 and all(networks)
    return (
        zip(("G", "D", "G_ema"), value, strict=True) if official else ((str(i), item) for i, item in enumerate(value))
    )


def _add(found: dict[str, Found], path: tuple[str, ...], network: Found) -> None:
    """Under the official name, or its path, or with a number where there is such a name already."""
    name = ".".join(path) or network.kind or network.role
    name = next(one for one in (OFFICIAL.get(name, name), name, f"{name} ({len(found)})") if one not in found)
    found[name] = network
