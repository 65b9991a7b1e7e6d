"""Layers that the networks share."""

from jaxedit.nn.convolution import conv2d as conv2d
from jaxedit.nn.dense import Dense as Dense, leaky_relu as leaky_relu, normalize_second_moment as normalize_second_moment
from jaxedit.nn.modulated import StyleConv as StyleConv, ToRGB as ToRGB, modulated_conv2d as modulated_conv2d
from jaxedit.nn.resample import (
    downsample2d as downsample2d,
    downsample_conv2d as downsample_conv2d,
    upsample2d as upsample2d,
    upsample_conv2d as upsample_conv2d,
)
