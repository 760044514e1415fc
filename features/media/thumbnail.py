"""Small pictures of every decoded frame, cheap beside decoding it: for what compares a frame with the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    import av
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

_OVERSAMPLING = 2


class Thumbnailer:
    """Makes small pictures: a few points of each patch are looked at, and averaged.

    Args:
        form: `bgr24` or `gray`.
    """

    def __init__(self, form: str) -> None:
        self._form = form
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, width: int, height: int) -> Picture:
        """The picture of a frame as it is stored, not turned upright, stretched to a size.

        Returns:
            uint8, shape [height, width, 3], or [height, width] in gray.
        """
        larger = self._reformatter.reformat(
            frame,
            width * _OVERSAMPLING,
            height * _OVERSAMPLING,
            self._form,
            interpolation=Interpolation.FAST_BILINEAR,
            threads=1,
        )
        return np.asarray(cv2.resize(larger.to_ndarray(), (width, height), interpolation=cv2.INTER_AREA), np.uint8)
