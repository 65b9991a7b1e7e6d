"""What the formats share: a network as found in a file, and reading its construction options strictly."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from weights_convert.errors import ConversionError, listing, printable
from weights_convert.tensors import NumpyArray, Tensor

Format = Literal["tensorflow", "ada", "rosinality", "openvino", "lightning", "torch", "flax", "tfjs"]
Role = Literal["generator", "discriminator", "network"]
STYLEGAN2 = {"generator": "stylegan2", "discriminator": "stylegan2_discriminator"}
ROLES: dict[str, Role] = {
    "stylegan2": "generator",
    "stylegan2_discriminator": "discriminator",
    "mobile_stylegan": "generator",
    "biggan_deep": "generator",
    "pggan": "generator",
}
MAX_WIDTH = 1 << 16
MAX_TENSORS = 10_000  # of one network; the largest official one has about 200
MAX_NAME = 4096


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of a checkpoint, before conversion.

    Attributes:
        family: A key of `jaxedit.families.FAMILIES`.
        format: Which column of the name table its tensors are called by.
        config: Arguments of the config of its family.
        tensors: The source's own names -> tensors.
        notes: Remarks for the user.
    """

    family: str
    format: Format
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    @property
    def role(self) -> Role:
        """What kind of network it is."""
        return ROLES.get(self.family, "network")


def add_tensor(tensors: dict[str, Tensor], name: str, value: Any) -> None:
    """Puts a value that has to be a tensor under a name that has to be new."""
    if len(tensors) >= MAX_TENSORS or len(name) > MAX_NAME:
        raise ConversionError(f"more than {MAX_TENSORS} tensors, or a name of more than {MAX_NAME} characters")
    value = value.tensor if isinstance(value, NumpyArray) else value
    if type(value) is not Tensor or name in tensors:
        raise ConversionError(f"{printable(name, 200)} is no tensor, or there are two of that name")
    tensors[name] = value


def shape_of(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that has to be there and to have so many axes."""
    shape = tensors[name].shape if name in tensors else None
    if shape is None or len(shape) != axes:
        what = "missing" if shape is None else f"of shape {shape}"
        raise ConversionError(f"{name} is {printable(what, 100)}, so the architecture cannot be told")
    return shape


def plain(value: Any) -> Any:
    """An option as a Python number, text, None or flat list of those; anything else as itself."""
    value = value.tensor if isinstance(value, NumpyArray) else value
    if isinstance(value, Tensor):
        return value.numpy().tolist() if 0 < value.size <= 64 else value
    return list(value) if isinstance(value, list | tuple) else value


class Options:
    """Construction options of a network: each is read, required to be supported, or known not to matter."""

    def __init__(self, where: str, options: Any):
        if not isinstance(options, Mapping) or not all(type(name) is str for name in options):
            raise ConversionError(f"{where}: the construction options are not a dict")
        self.where, self.options = where, options
        self.unknown = set(options)

    def get(self, name: str, default: Any = None) -> Any:
        self.unknown.discard(name)
        return plain(self.options.get(name, default))

    def group(self, name: str) -> "Options":
        """Options that are a dict inside these options."""
        value = self.get(name)
        return Options(f"{self.where} {name}", {} if value is None else value)

    def integer(self, name: str, default: int, low: int = 1, high: int = MAX_WIDTH) -> int:
        value = self.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.unsupported(name, value, f"a whole number from {low} to {high}")
        return value

    def whole_or_none(self, name: str, default: int | None) -> int | None:
        return None if self.get(name, default) is None else self.integer(name, default or 1)

    def number(self, name: str, default: float | None) -> float | None:
        """A positive number; None only where that is the default."""
        value = self.get(name, default)
        if value is None and default is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
            raise self.unsupported(name, value, "a positive number")
        return float(value)

    def require(self, name: str, *supported: Any) -> None:
        """The option has to be absent or one of the supported values."""
        value = self.get(name, supported[0])
        if not any(type(value) in (type(s), int, float) and value == s for s in supported):
            raise self.unsupported(name, value, " or ".join(repr(s) for s in supported))

    def ignore(self, *names: str) -> None:
        """These options do not change what the network computes in inference."""
        self.unknown.difference_update(names)

    def finish(self) -> None:
        if self.unknown:
            raise ConversionError(f"{self.where}: unknown construction options {listing(sorted(self.unknown))}")

    def unsupported(self, name: str, value: Any, supported: str) -> ConversionError:
        shown = repr(value) if type(value) in (int, float, str, bool, type(None)) else f"of type {type(value).__name__}"
        if type(value) is list and len(value) <= 16 and all(type(item) in (int, float) for item in value):
            shown = repr(value)
        return ConversionError(f"{self.where}: {name} is {printable(shown, 100)}, supported is {supported}")


def resolution(options: Options, name: str, default: int) -> int:
    """The resolution, a power of two from 8 to 4096; with the forks' options that only squares from 4x4 up pass."""
    for start, square in (("init_res", [4, 4]), ("min_h", 4), ("min_w", 4)):
        value = options.get(start, square)
        if value != square:
            raise options.unsupported(start, value, f"{square}: only square images of a power of two")
    value = options.integer(name, default, 8, 4096)
    if value & (value - 1):
        raise options.unsupported(name, value, "a power of two")
    return value


def channels(config: dict[str, Any], at: int) -> int:
    """Channels at a resolution, as both networks compute them."""
    return min(config["channel_base"] // at, config["channel_max"])
