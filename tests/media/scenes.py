"""Pictures with something in them, clips of them, and copies of clips, for tests of quality and near-duplicates."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

WIDTH, HEIGHT, FPS = 320, 180, 5


def scene(seed: int, shift: int = 0) -> Picture:
    """A picture of boxes and discs, panned by `shift` pixels."""
    rng = np.random.default_rng(seed)
    wide = np.full((HEIGHT, 3 * WIDTH, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(60):
        x, y, size = int(rng.integers(3 * WIDTH)), int(rng.integers(HEIGHT)), int(rng.integers(8, 50))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.rectangle(wide, (x, y), (x + size, y + size), colour, -1)
        else:
            cv2.circle(wide, (x, y), size // 2, colour, -1)
    return wide[:, shift : shift + WIDTH].copy()


def film(seed: int, seconds: int) -> list[Picture]:
    """Shots of two seconds with a slow pan."""
    return [scene(1000 * seed + index // (2 * FPS), index % (2 * FPS)) for index in range(seconds * FPS)]


def write_film(path: Path, pictures: Iterable[Picture]) -> Path:
    raw = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-")
    coded = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p")
    command = ["ffmpeg", "-v", "error", "-y", *raw, *coded, str(path)]
    subprocess.run(command, input=b"".join(picture.tobytes() for picture in pictures), check=True)
    return path


def copy_of(path: Path, target: Path, *options: str) -> Path:
    """The same pictures, encoded anew."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(path), "-an", *options, str(target)], check=True)
    return target
