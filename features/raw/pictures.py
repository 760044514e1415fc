"""`frame64`: a picture small enough to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    Array = npt.NDArray[np.float32]

SIZE = 64


def frame64(picture: Picture) -> Array:
    """A picture as 64 x 64 pixels.

    Each pixel is the mean of the area that it stands for. The whole picture is stretched to a square: who speaks often
    stands at a side, which a centre crop would cut off, and the shape of the pictures is the same all through a media.

    Args:
        picture: RGB, uint8, shape [height, width, 3].

    Returns:
        RGB, float32 in [0, 1], shape [64, 64, 3].

    Source:
        OpenCV 4, `resize` with `INTER_AREA`; pixels divided by 255.
    """
    import cv2

    small = cv2.resize(picture.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small / 255, 0, 1), np.float32)
