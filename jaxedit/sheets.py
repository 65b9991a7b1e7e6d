"""Sheets of many images whose rows and columns have names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, UInt8
from PIL import Image, ImageDraw, ImageFont

_SMALLEST = 128  # pixels that a tile is enlarged to, for the names to be read
_SHAPE = 4 / 3  # width to height of a sheet, about
_MISSING = (200, 200, 200)


class _Layout(NamedTuple):
    """Rows and columns are cut into panels, which stand below each other (`stacked`) or side by side."""

    panels: int
    stacked: bool
    rows: int
    columns: int
    tile: tuple[int, int]
    margin: int
    line: int

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of a panel."""
        return self.margin + self.columns * self.tile[0], self.line + self.rows * self.tile[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width, height = self.panel_size
        return (width, height * self.panels) if self.stacked else (width * self.panels, height)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and top of a tile."""
        panel = column // self.columns if self.stacked else row // self.rows
        width, height = self.panel_size
        left, top = (0, panel * height) if self.stacked else (panel * width, 0)
        row, column = row % self.rows, column % self.columns
        return left + self.margin + column * self.tile[0], top + self.line + row * self.tile[1]


def labelled_sheet(
    images: Iterable[UInt8[Array | np.ndarray, "height width channels"] | None],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    marks: Sequence[str] = (),
    max_side: int = 8192,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Lays images out in rows and columns with names beside and above them.

    Long sheets are cut into panels, each with the names again, so that the whole is about as wide as high. Images below
    128 pixels are enlarged. Takes the images one at a time, so only the sheet itself is held in memory.

    Args:
        images: uint8 images of one shape, of NumPy or JAX, row by row; None leaves a place grey.
        rows: Names of the rows; empty ones take no room.
        columns: Names of the columns; likewise.
        marks: What to write into the corner of each image; none if empty.
        max_side: Longest side of the sheet in pixels; images are shrunk to stay within it.

    Returns:
        The sheet, RGB on white.

    Raises:
        ValueError: Not as many images as places, images of different shapes, none at all, or more than fit.
    """
    sheet, shape, layout, count = None, None, None, 0
    for count, image in enumerate(images, 1):
        if count > len(rows) * len(columns):
            raise ValueError(f"more than {len(rows) * len(columns)} images for this sheet")
        if image is None:
            continue
        if sheet is None or layout is None:
            shape, layout = image.shape, _arranged((image.shape[0], image.shape[1]), rows, columns, max_side)
            sheet = _blank(layout, rows, columns)
        if image.shape != shape:
            raise ValueError(f"image {count} of the sheet has shape {image.shape}, the first one {shape}")
        corner = layout.corner(*divmod(count - 1, len(columns)))
        sheet.paste(_resized(np.asarray(image), layout.tile), corner)
        if marks:
            _write(sheet, (corner[0] + 5, corner[1] + 3), marks[count - 1], layout.line, outlined=True)
    if sheet is None or count < len(rows) * len(columns):
        raise ValueError(f"{count} images for {len(rows)} rows and {len(columns)} columns, some of them missing")
    return np.asarray(sheet)


def _arranged(size: tuple[int, int], rows: Sequence[str], columns: Sequence[str], max_side: int) -> _Layout:
    """The layout nearest to the wanted shape, its tiles as large as `max_side` allows."""
    scale = max(1.0, _SMALLEST / max(size))
    while True:
        tile = round(size[1] * scale), round(size[0] * scale)
        if min(tile) < 1:
            raise ValueError(f"{len(columns)} x {len(rows)} images do not fit on a sheet of {max_side} pixels")
        layout = _best(tile, rows, columns)
        if max(layout.size) <= max_side:
            return layout
        scale *= min(0.98, max_side / max(layout.size))


def _best(tile: tuple[int, int], rows: Sequence[str], columns: Sequence[str]) -> _Layout:
    line = max(12, round(0.16 * tile[1]))
    margin = math.ceil(max(_font(line).getlength(name) for name in rows)) + line if any(rows) else 0
    stacked = len(columns) > len(rows)
    longer = max(len(rows), len(columns))
    layouts = []
    for panels in range(1, longer + 1):
        each = math.ceil(longer / panels)
        shape = (len(rows), each) if stacked else (each, len(columns))
        layouts.append(_Layout(math.ceil(longer / each), stacked, *shape, tile, margin, line if any(columns) else 0))
    return min(layouts, key=lambda layout: abs(math.log(layout.size[0] / layout.size[1] / _SHAPE)))


def _blank(layout: _Layout, rows: Sequence[str], columns: Sequence[str]) -> Image.Image:
    """The sheet with its names, all places grey."""
    sheet = Image.new("RGB", layout.size, "white")
    width, height = layout.tile
    for row, name in enumerate(rows):
        for column, heading in enumerate(columns):
            left, top = layout.corner(row, column)
            sheet.paste(_MISSING, (left, top, left + width, top + height))
            if column % layout.columns == 0 and name:
                text_size = max(12, round(0.16 * height))
                _write(sheet, (left - layout.margin + text_size // 3, top + height // 2), name, text_size, anchor="lm")
            if row % layout.rows == 0 and heading:
                place = (left + width // 2, top - layout.line // 2)
                _write(sheet, place, heading, layout.line, anchor="mm", width=width)
    return sheet


def _write(
    sheet: Image.Image,
    place: tuple[int, int],
    text: str,
    line: int,
    *,
    anchor: str = "la",
    width: int = 0,
    outlined: bool = False,
) -> None:
    """Writes one line, smaller where it would be wider than `width`."""
    font = _font(line)
    if width and (length := font.getlength(text)) > width:
        font = _font(max(8, int(line * width / length)))
    fill, stroke = ("white", 2) if outlined else ("black", 0)
    ImageDraw.Draw(sheet).text(place, text, fill, font, anchor, stroke_width=stroke, stroke_fill="black")


def _font(line: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=0.7 * line)


def _resized(image: np.ndarray, tile: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
    shrinks = tile[0] < picture.width
    return picture.resize(tile, Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)
