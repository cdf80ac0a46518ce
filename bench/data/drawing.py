"""Velocity maps and their shot records as one PNG."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.errors import HomeError
from bench.protocol import survey
from bench.seismic.colours import palette

_PAPER, _INK, _FAINT = (255, 255, 255), (34, 38, 46), (120, 126, 138)
_SIDE = 350
"""Pixels of a map's side and of a record's height."""
_SHOT = 175
_LEFT, _TOP, _ROW_TOP, _ROW_BOTTOM = 78, 74, 44, 62
_GAP, _BAR, _BAR_TEXT = 18, 16, 132
_CLIP_PERCENT = 90
"""Percentile of |pressure| that gets the strongest colour: the direct wave hides the rest."""


def draw(
    title: str,
    captions: Sequence[str],
    maps_mps: NDArray[np.float32],
    records: NDArray[np.float32],
    path: Path,
) -> None:
    """Write one row for each sample: map (n, 70, 70) in m/s, and five shots (n, 5, 1000, 70).

    Axes are in metres and seconds; one colour scale of velocity for all maps, one of pressure for
    each sample. Raises `HomeError` if the file cannot be written.
    """
    row = _ROW_TOP + _SIDE + _ROW_BOTTOM
    width = _LEFT + _SIDE + _GAP + _BAR + _BAR_TEXT + survey.SHOTS * (_SHOT + _GAP) + _GAP
    picture = Image.new("RGB", (width, _TOP + row * len(captions)), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_LEFT, 26), title, _INK, _font(26))
    for number, caption in enumerate(captions):
        top = _TOP + number * row
        pen.text((_LEFT, top + 2), caption, _INK, _font(17))
        _draw_map(picture, pen, maps_mps[number], top + _ROW_TOP)
        _draw_shots(picture, pen, records[number], top + _ROW_TOP)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, format="PNG", optimize=True)
        temporary.replace(path)
    except OSError as error:
        raise HomeError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _draw_map(
    picture: Image.Image, pen: ImageDraw.ImageDraw, velocity: NDArray[np.float32], top: int
) -> None:
    span = survey.VELOCITY_MAX_MPS - survey.VELOCITY_MIN_MPS
    share = (velocity - survey.VELOCITY_MIN_MPS) / span
    image = Image.fromarray(_colour(share, "velocity"))
    picture.paste(image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (_LEFT, top))
    metres = survey.WIDTH_CELLS * survey.CELL_METRES
    ticks = [(m / metres, f"{m:.0f}") for m in np.arange(0, metres + 1, 100)]
    _axis(pen, (_LEFT, top, _SIDE, _SIDE), across=ticks, down=ticks)
    _label(pen, (_LEFT + _SIDE / 2, top + _SIDE + 38), "distance (m)")
    _upright(picture, (16, top + _SIDE // 2), "depth (m)")
    left = _LEFT + _SIDE + _GAP
    ramp = np.repeat(np.linspace(1, 0, _SIDE)[:, None], _BAR, axis=1)
    picture.paste(Image.fromarray(_colour(ramp, "velocity")), (left, top))
    pen.rectangle((left, top, left + _BAR - 1, top + _SIDE - 1), outline=_FAINT)
    for speed in np.arange(survey.VELOCITY_MIN_MPS, survey.VELOCITY_MAX_MPS + 1, 500):
        y = top + _SIDE * (1 - (speed - survey.VELOCITY_MIN_MPS) / span)
        pen.line((left + _BAR, y, left + _BAR + 4, y), _FAINT)
        pen.text((left + _BAR + 8, y), f"{speed:.0f}", _INK, _font(13), anchor="lm")
    pen.text((left, top - 12), "m/s", _INK, _font(13), anchor="lm")


def _draw_shots(
    picture: Image.Image, pen: ImageDraw.ImageDraw, shots: NDArray[np.float32], top: int
) -> None:
    clip = float(np.percentile(np.abs(shots), _CLIP_PERCENT)) or 1.0
    edge = _LEFT + _SIDE + _GAP + _BAR + _BAR_TEXT + survey.SHOTS * (_SHOT + _GAP) - _GAP
    scale = f"pressure, clipped at ± {clip:.2g}"
    pen.text((edge, top - 32), scale, _FAINT, _font(14), anchor="rm")
    seconds = survey.TIME_STEPS * survey.STEP_SECONDS
    metres = survey.RECEIVERS * survey.CELL_METRES
    down = [(t / seconds, f"{t:.1f}") for t in np.arange(0, seconds + 0.01, 0.2)]
    across = [(m / metres, f"{m:.0f}") for m in np.arange(0, metres, 200)]
    start = _LEFT + _SIDE + _GAP + _BAR + _BAR_TEXT
    for number, (shot, column) in enumerate(zip(shots, survey.SOURCE_COLUMNS, strict=True)):
        left = start + number * (_SHOT + _GAP)
        image = Image.fromarray(_colour(shot / (2 * clip) + 0.5, "error"))
        picture.paste(image.resize((_SHOT, _SIDE), Image.Resampling.BOX), (left, top))
        _axis(pen, (left, top, _SHOT, _SIDE), across=across, down=down if number == 0 else ())
        source = left + _SHOT * (column + 0.5) / survey.RECEIVERS
        pen.polygon(((source, top - 2), (source - 5, top - 10), (source + 5, top - 10)), fill=_INK)
        _label(pen, (left + _SHOT / 2, top + _SIDE + 38), "receiver (m)")
    _upright(picture, (start - 62, top + _SIDE // 2), "time (s)")


Ticks = Sequence[tuple[float, str]]


def _axis(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], *, across: Ticks, down: Ticks
) -> None:
    """A frame with ticks below and on the left; positions are shares of its side."""
    left, top, width, height = box
    pen.rectangle((left, top, left + width - 1, top + height - 1), outline=_FAINT)
    for share, text in across:
        x = left + share * (width - 1)
        pen.line((x, top + height, x, top + height + 4), _FAINT)
        pen.text((x, top + height + 6), text, _INK, _font(13), anchor="ma")
    for share, text in down:
        y = top + share * (height - 1)
        pen.line((left - 5, y, left - 1, y), _FAINT)
        pen.text((left - 8, y), text, _INK, _font(13), anchor="rm")


def _label(pen: ImageDraw.ImageDraw, centre: tuple[float, float], text: str) -> None:
    pen.text(centre, text, _FAINT, _font(14), anchor="mm")


def _upright(picture: Image.Image, centre: tuple[int, int], text: str) -> None:
    wide = round(_font(14).getlength(text)) + 4
    strip = Image.new("RGB", (wide, 20), _PAPER)
    ImageDraw.Draw(strip).text((wide / 2, 10), text, _FAINT, _font(14), anchor="mm")
    turned = strip.rotate(90, expand=True)
    picture.paste(turned, (centre[0] - 10, centre[1] - wide // 2))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(share: NDArray[np.floating], scale: str) -> NDArray[np.uint8]:
    """Values in [0, 1] (clipped) → sRGB, (…, 3)."""
    colours: NDArray[np.uint8] = palette(scale)[np.round(255 * np.clip(share, 0, 1)).astype(int)]
    return colours
