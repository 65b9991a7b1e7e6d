"""Reads checkpoints of other programs, without those programs and without executing anything from the file.

`python -m weights_convert SRC DST` converts an official StyleGAN2 checkpoint;
`read_tensors` reads any `torch.save` file.
"""

from weights_convert.conversion import convert
from weights_convert.errors import ConversionError
from weights_convert.values import read_tensors

__all__ = ["ConversionError", "convert", "read_tensors"]
