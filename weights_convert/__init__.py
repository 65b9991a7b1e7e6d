"""Reads checkpoints of other programs, without those programs and without executing anything from the file.

`python -m weights_convert SRC DST` converts an official StyleGAN2 checkpoint;
`read_tensors` reads any `torch.save` file, `stored_tensors` one of tensors without reading their numbers.

Names are imported on first use, so that the command line can be interrupted from its first moment.
"""

TYPE_CHECKING = False  # as typing's, without importing typing
if TYPE_CHECKING:
    from weights_convert.conversion import convert
    from weights_convert.errors import ConversionError
    from weights_convert.values import read_tensors, stored_tensors

__all__ = ["ConversionError", "convert", "read_tensors", "stored_tensors"]

_ATTRIBUTES = {
    "ConversionError": "weights_convert.errors",
    "convert": "weights_convert.conversion",
    "read_tensors": "weights_convert.values",
    "stored_tensors": "weights_convert.values",
}


def __getattr__(name: str) -> object:
    if name not in _ATTRIBUTES:
        raise AttributeError(f"module 'weights_convert' has no attribute {name!r}")
    import importlib

    globals()[name] = value = getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    return value
