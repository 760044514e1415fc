"""From a decoded frame to a picture as a viewer sees it: upright, of square pixels, in 8-bit sRGB."""

from __future__ import annotations

import gc
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
import av.filter
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, VideoReformatter

from features.media.hdr import is_wide, to_standard

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

_MOST_HELD_BYTES = 32 << 20
_SANE_ASPECT = 8
_HD_WIDTH = 1280
_HD_HEIGHT = 577
# FFmpeg's numbers of matrices to those of its scaler; it knows no others. Constant luminance is taken for the usual.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


class Turn(NamedTuple):
    """How a picture is brought upright: first mirrored at its diagonal, then left to right, then upside down."""

    transpose: bool = False
    left_right: bool = False
    upside_down: bool = False

    @property
    def clockwise_degrees(self) -> int:
        """The turn in it, 0, 90, 180 or 270; a mirrored picture is one that is turned after it was mirrored."""
        if self.transpose:
            return 270 if self.upside_down else 90
        return 180 if self.upside_down else 0

    def apply(self, picture: Picture) -> Picture:
        """The upright picture."""
        if self.transpose:
            picture = np.asarray(cv2.transpose(picture), np.uint8)
        if self.left_right or self.upside_down:
            code = -1 if self.left_right and self.upside_down else 1 if self.left_right else 0
            picture = np.asarray(cv2.flip(picture, code), np.uint8)
        return picture


class FrameConverter:
    """Turns frames of one video into upright pictures.

    The shape of a pixel is the container's or, where the coded video states its own and the container none, as it
    is at that time. Colours follow the stated matrix and range; where none is stated, BT.709 for HD and BT.601
    below, as players take it. HDR is tone-mapped, wide gamuts are brought to sRGB, interlaced frames are
    deinterlaced (bwdif), and what is transparent stands over black.

    Args:
        stream: The video stream.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._codec = stream.codec_context
        self._stated_aspect = stream.sample_aspect_ratio
        self._first_aspect: Fraction | None = None
        self._has_begun = False
        self._coding: tuple[int, int, Fraction | None] | None = None
        self._square = (0, 0)
        self._reformatter = VideoReformatter()
        self._held_bytes = 0

    def square_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height with square pixels, before it is brought upright; ask before the next frame is decoded."""
        coded: Fraction | None = self._codec.sample_aspect_ratio
        coding = (frame.width, frame.height, coded)
        if coding != self._coding:  # asked for every frame, and fractions are slow
            self._coding = coding
            self._square = max(1, round(frame.width * _sane_aspect(self._aspect(coded)))), frame.height
        return self._square

    def picture(
        self,
        frame: av.VideoFrame,
        size: tuple[int, int],
        before: av.VideoFrame | None = None,
        after: av.VideoFrame | None = None,
    ) -> Picture:
        """The picture that a frame shows.

        Args:
            frame: The frame.
            size: Width and height to scale it to, before it is brought upright.
            before: The frame before it, for deinterlacing.
            after: The frame after it, for deinterlacing.

        Returns:
            BGR, uint8, shape [height, width, 3].
        """
        self._let_go(frame)
        whole = deinterlaced(frame, before, after) if frame.interlaced_frame else frame
        return turn_of(frame).apply(self._bgr(whole, *size))

    def _let_go(self, frame: av.VideoFrame) -> None:
        """Free frames of before: PyAV's hold on to their side data, which holds on to them, and Python waits long."""
        self._held_bytes += sum(plane.buffer_size for plane in frame.planes)
        if self._held_bytes > _MOST_HELD_BYTES:
            gc.collect()  # all of it: the frame in hand grows old by each look
            self._held_bytes = 0

    def _aspect(self, coded: Fraction | None) -> Fraction | None:
        if not self._has_begun:
            self._has_begun, self._first_aspect = True, coded
        follows = not self._stated_aspect or self._stated_aspect == self._first_aspect
        return (coded or self._stated_aspect) if follows else self._stated_aspect

    def _bgr(self, frame: av.VideoFrame, width: int, height: int) -> Picture:
        if is_wide(frame):
            rgb = self._reformat(frame, width, height, "rgb48le")
            return np.ascontiguousarray(to_standard(rgb.astype(np.uint16, copy=False), frame)[..., ::-1])
        if any(component.is_alpha for component in frame.format.components) or frame.format.has_palette:
            bgra = self._reformat(frame, width, height, "bgra")
            return np.asarray(cv2.multiply(bgra[..., :3], bgra[..., 3:].repeat(3, 2), scale=1 / 255), np.uint8)
        return np.asarray(self._reformat(frame, width, height, "bgr24"), np.uint8)

    def _reformat(self, frame: av.VideoFrame, width: int, height: int, form: str) -> npt.NDArray[np.generic]:
        converted = self._reformatter.reformat(
            frame, width, height, form, src_colorspace=matrix_of(frame), src_color_range=_range_of(frame), threads=1
        )
        return converted.to_ndarray()


def turn_of(frame: av.VideoFrame) -> Turn:
    """What brings a frame upright, of the eight turns and mirrorings the nearest to its display matrix."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Turn()
    a, b, _, c, d = struct.unpack_from("5i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(False, a < 0, d < 0)
    return Turn(True, c < 0, b < 0)


def matrix_of(frame: av.VideoFrame) -> Colorspace | None:
    """The matrix from a frame's colours to RGB, as stated or as players guess it; None for RGB."""
    if frame.format.is_rgb or frame.format.has_palette:
        return None
    stated = _MATRICES.get(frame.colorspace)
    if stated is not None:
        return stated
    if frame.color_primaries == ColorPrimaries.BT2020:
        return Colorspace.BT2020
    is_hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
    return Colorspace.ITU709 if is_hd else Colorspace.ITU601


def deinterlaced(frame: av.VideoFrame, before: av.VideoFrame | None, after: av.VideoFrame | None) -> av.VideoFrame:
    """A frame's first field with the lines between filled in, from what is around it in place and time."""
    near = [other for other in (before, frame, after) if other is not None and _alike(other, frame)]
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    try:
        graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=all"), graph.add("buffersink")).configure()
        for other in (*near, None):
            graph.vpush(other)
        shown = [graph.vpull() for _ in near]
    except av.error.FFmpegError:  # a frame of two lines, or of a format that the filter does not take
        return frame
    return shown[near.index(frame)]


def _alike(other: av.VideoFrame, frame: av.VideoFrame) -> bool:
    return (other.width, other.height, other.format.name) == (frame.width, frame.height, frame.format.name)


def _range_of(frame: av.VideoFrame) -> ColorRange | None:
    return None if frame.color_range == ColorRange.UNSPECIFIED else ColorRange(frame.color_range)


def _sane_aspect(aspect: Fraction | None) -> Fraction | int:
    """Width over height of a pixel; 1 where the file does not know or claims what no screen shows."""
    if not aspect or aspect <= 0 or not 1 <= aspect * _SANE_ASPECT <= _SANE_ASPECT**2:
        return 1
    return aspect
