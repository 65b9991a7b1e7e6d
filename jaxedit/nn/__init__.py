"""Layers that the networks share."""

from jaxedit.nn.convolution import conv2d
from jaxedit.nn.dense import Dense, leaky_relu, normalize_second_moment
from jaxedit.nn.modulated import StyleConv, ToRGB, modulated_conv2d
from jaxedit.nn.resample import downsample2d, downsample_conv2d, upsample2d, upsample_conv2d

__all__ = [
    "Dense",
    "StyleConv",
    "ToRGB",
    "conv2d",
    "downsample2d",
    "downsample_conv2d",
    "leaky_relu",
    "modulated_conv2d",
    "normalize_second_moment",
    "upsample2d",
    "upsample_conv2d",
]
