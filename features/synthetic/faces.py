"""Draws a cartoon face whose mouth, brows and eyes show a mood; everything else about it is chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Picture: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float64]
Colour: TypeAlias = tuple[int, int, int]

WIDTH = 320
"""Pixels across a drawn picture, unless asked otherwise."""
HEIGHT = 240
"""Pixels down a drawn picture, unless asked otherwise."""

_SKINS: tuple[Colour, ...] = (
    (255, 224, 196),
    (244, 205, 170),
    (224, 177, 138),
    (190, 138, 99),
    (156, 108, 76),
    (128, 86, 62),
)
_HAIRS: tuple[Colour, ...] = ((40, 30, 28), (86, 56, 36), (140, 92, 48), (206, 164, 92), (168, 74, 40), (150, 148, 150))
_IRISES: tuple[Colour, ...] = ((74, 110, 150), (84, 122, 78), (98, 66, 40), (70, 78, 92))
_SHIRTS: tuple[Colour, ...] = (
    (58, 92, 138),
    (140, 62, 66),
    (70, 120, 96),
    (120, 96, 150),
    (196, 152, 70),
    (88, 96, 108),
)
_WALLS: tuple[Colour, ...] = (
    (214, 226, 234),
    (234, 222, 208),
    (214, 228, 212),
    (228, 216, 230),
    (198, 206, 216),
    (240, 232, 214),
)
_WHITE: Colour = (250, 249, 246)
_SHIFT = 4  # fractional bits of OpenCV's coordinates, for edges that move by less than a pixel
_NOISE_MARGIN = 32


@dataclass(frozen=True, slots=True)
class Look:
    """What a face looks like apart from its mood; drawn once a clip.

    Attributes:
        skin: RGB of the skin.
        hair: RGB of the hair.
        iris: RGB of the irises.
        shirt: RGB of the shirt.
        backdrop: The empty background, uint8, shape [height, width, 3].
        long_hair: Hair falls to the shoulders.
        glasses: The face wears glasses.
        centre: Middle of the face, as fractions of width and height.
        scale: Half the height of the face as a fraction of the picture's height.
        tilt: Roll of the head, radians.
        yaw: Turn of the head, in half face widths.
        light: Brightness of the scene, 1 is neutral.
        phase: Offset of the idle movement, radians.
        grain: Noise field that the pictures are cut from, int16, shape [height + margin, width + margin, 3].
    """

    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    backdrop: Picture
    long_hair: bool
    glasses: bool
    centre: tuple[float, float]
    scale: float
    tilt: float
    yaw: float
    light: float
    phase: float
    grain: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class _Pose:
    """Maps face coordinates (origin between nose and eyes, 1 = half the face's height, y down) to pixels."""

    x: float
    y: float
    scale: float
    tilt: float

    def place(self, points: Points) -> NDArray[np.int32]:
        sine, cosine = math.sin(self.tilt), math.cos(self.tilt)
        turned = points @ np.array([[cosine, sine], [-sine, cosine]])
        pixels = turned * self.scale + np.array([self.x, self.y])
        placed: NDArray[np.int32] = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
        return placed


def make_look(rng: np.random.Generator, *, width: int = WIDTH, height: int = HEIGHT) -> Look:
    """A random appearance, independent of any mood.

    Args:
        rng: Source of chance.
        width: Pixels across the pictures to come.
        height: Pixels down the pictures to come.
    """
    grain = rng.normal(0.0, rng.uniform(2.0, 6.0), (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 1))
    return Look(
        skin=_pick(_SKINS, rng),
        hair=_pick(_HAIRS, rng),
        iris=_pick(_IRISES, rng),
        shirt=_pick(_SHIRTS, rng),
        backdrop=_backdrop(_pick(_WALLS, rng), width, height),
        long_hair=bool(rng.random() < 0.5),
        glasses=bool(rng.random() < 0.25),
        centre=(float(rng.uniform(0.44, 0.56)), float(rng.uniform(0.47, 0.53))),
        scale=float(rng.uniform(0.32, 0.37)),
        tilt=float(rng.normal(0.0, 0.05)),
        yaw=float(rng.uniform(-0.12, 0.12)),
        light=float(rng.uniform(0.88, 1.08)),
        phase=float(rng.uniform(0.0, 2 * math.pi)),
        grain=np.repeat(np.round(grain).astype(np.int16), 3, axis=2),
    )


def draw_face(latent: float, t_seconds: float, look: Look) -> Picture:
    """A picture of a face at one moment.

    Args:
        latent: Strength of the mood: negative is sad, positive happy, about -3 to 3.
        t_seconds: Time in the clip; the head sways, the lips move and the eyes blink with it.
        look: Appearance, which also fixes the picture's size.

    Returns:
        RGB, uint8, shape [height, width, 3].
    """
    height, width = look.backdrop.shape[:2]
    mood = math.tanh(latent / 1.6)
    picture = look.backdrop.copy()
    pose = _pose_at(look, t_seconds, width, height)
    turn = look.yaw + 0.05 * math.sin(0.9 * t_seconds + 2 * look.phase)
    _draw_body(picture, pose, look)
    _draw_head(picture, pose, look)
    for side in (-1.0, 1.0):
        _draw_eye(picture, pose, look, side, turn, mood, _openness(look, t_seconds))
        _draw_brow(picture, pose, look, side, turn, mood)
    _draw_nose(picture, pose, look, turn)
    _draw_mouth(picture, pose, look, turn, mood, t_seconds)
    return _develop(picture, look, t_seconds)


def _pick(colours: Sequence[Colour], rng: np.random.Generator) -> Colour:
    brightness, tint = rng.integers(-10, 11), rng.integers(-3, 4, 3)
    chosen = np.array(colours[int(rng.integers(len(colours)))]) + brightness + tint
    red, green, blue = (int(value) for value in np.clip(chosen, 0, 255))
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def _backdrop(wall: Colour, width: int, height: int) -> Picture:
    rows = np.linspace(1.04, 0.86, height)[:, None, None]
    columns = np.linspace(1.0, 0.94, width)[None, :, None]
    return np.clip(np.array(wall) * rows * columns, 0, 255).astype(np.uint8)


def _pose_at(look: Look, t: float, width: int, height: int) -> _Pose:
    sway = 0.012 * math.sin(1.7 * t + look.phase)
    nod = 0.010 * math.sin(2.3 * t + 1.3 * look.phase)
    tilt = look.tilt + 0.035 * math.sin(1.1 * t + look.phase)
    return _Pose((look.centre[0] + sway) * width, (look.centre[1] + nod) * height, look.scale * height, tilt)


def _openness(look: Look, t: float) -> float:
    """How far the eyes are open, 0.1 to 1: a blink of 0.2 s about every 3 s."""
    since = (t + look.phase) % 3.1
    return 1.0 if since > 0.2 else max(0.1, abs(since - 0.1) / 0.1)


def _ellipse(x: float, y: float, a: float, b: float, start: float = 0.0, end: float = 2 * math.pi) -> Points:
    angles = np.linspace(start, end, 40 if max(a, b) > 0.4 else 20)
    return np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], axis=1)


def _fill(picture: Picture, pose: _Pose, points: Points, colour: Colour) -> None:
    cv2.fillPoly(picture, [pose.place(points)], colour, cv2.LINE_AA, _SHIFT)


def _stroke(picture: Picture, pose: _Pose, points: Points, colour: Colour, thickness: float) -> None:
    pixels = max(1, round(thickness * pose.scale))
    cv2.polylines(picture, [pose.place(points)], False, colour, pixels, cv2.LINE_AA, _SHIFT)


def _draw_body(picture: Picture, pose: _Pose, look: Look) -> None:
    if look.long_hair:
        _fill(picture, pose, _ellipse(0, 0.15, 1.0, 1.28), _shade(look.hair, 0.82))
    _fill(picture, pose, _ellipse(0, 2.25, 1.55, 1.05), look.shirt)
    _fill(
        picture,
        pose,
        np.array([[-0.32, 0.6], [0.32, 0.6], [0.38, 1.3], [0.0, 1.52], [-0.38, 1.3]]),
        _shade(look.skin, 0.84),
    )


def _draw_head(picture: Picture, pose: _Pose, look: Look) -> None:
    for side in (-1.0, 1.0):
        _fill(picture, pose, _ellipse(side * 0.8, 0.06, 0.12, 0.2), _shade(look.skin, 0.92))
    head = _ellipse(0, 0, 0.8, 1.0)
    head[:, 0] *= 1.0 - 0.16 * np.clip(head[:, 1], 0, 1) ** 2
    _fill(picture, pose, head, look.skin)
    _fill(picture, pose, _hairline(), look.hair)


def _hairline() -> Points:
    outer = _ellipse(0, -0.02, 0.86, 1.1, math.pi, 2 * math.pi)
    inner = _ellipse(0.0, -0.06, 0.8, 0.56, 2 * math.pi, math.pi)
    return np.concatenate([outer, inner])


def _draw_eye(
    picture: Picture, pose: _Pose, look: Look, side: float, turn: float, mood: float, openness: float
) -> None:
    x, y = side * 0.33 + turn, -0.08
    tall = 0.115 * openness * (1.0 - 0.22 * max(mood, 0.0))
    _fill(picture, pose, _ellipse(x, y, 0.17, tall), _WHITE)
    if openness > 0.4:
        gaze = 0.35 * turn
        _fill(picture, pose, _ellipse(x + gaze, y, 0.085, min(0.085, tall)), look.iris)
        _fill(picture, pose, _ellipse(x + gaze, y, 0.042, min(0.042, tall)), (24, 20, 20))
        _fill(picture, pose, _ellipse(x + gaze + 0.03, y - 0.03, 0.018, 0.018), _WHITE)
    lid = _ellipse(x, y, 0.18, tall, math.pi, 2 * math.pi)
    _stroke(picture, pose, lid, _shade(look.hair, 0.6), 0.032)
    if look.glasses:
        _stroke(picture, pose, _ellipse(x, y + 0.02, 0.25, 0.21), (60, 60, 66), 0.03)
        _stroke(picture, pose, np.array([[turn, y - 0.02], [turn + side * 0.08, y - 0.02]]), (60, 60, 66), 0.03)


def _draw_brow(picture: Picture, pose: _Pose, look: Look, side: float, turn: float, mood: float) -> None:
    along = np.linspace(0.0, 1.0, 8)
    x = side * (0.16 + 0.36 * along) + turn
    inner, outer = -0.30 - 0.10 * max(-mood, 0.0) - 0.04 * max(mood, 0.0), -0.30 + 0.09 * max(-mood, 0.0)
    arch = 0.05 + 0.05 * max(mood, 0.0)
    y = inner + (outer - inner) * along - arch * np.sin(np.pi * along)
    _stroke(picture, pose, np.stack([x, y], axis=1), _shade(look.hair, 0.75), 0.065)


def _draw_nose(picture: Picture, pose: _Pose, look: Look, turn: float) -> None:
    nose = _ellipse(1.3 * turn, 0.2, 0.1, 0.09, 0.1 * math.pi, 0.9 * math.pi)
    _stroke(picture, pose, nose, _shade(look.skin, 0.72), 0.04)


def _draw_mouth(picture: Picture, pose: _Pose, look: Look, turn: float, mood: float, t: float) -> None:
    speaking = 0.5 + 0.5 * math.sin(2 * math.pi * 2.6 * t + look.phase)
    opening = 0.03 + 0.07 * speaking + 0.05 * max(mood, 0.0)
    along = np.linspace(-1.0, 1.0, 16)
    half_width = 0.30 + 0.07 * mood
    bend = 0.17 * mood * (1.0 - along**2)
    middle = 0.53 - 0.06 * mood
    shape = opening * (1.0 - along**2)
    upper = np.stack([along * half_width + 1.1 * turn, middle + bend - 0.45 * shape], axis=1)
    lower = np.stack([along * half_width + 1.1 * turn, middle + bend + shape], axis=1)
    _fill(picture, pose, np.concatenate([upper, lower[::-1]]), (110, 34, 40))
    if opening > 0.08:
        teeth = upper + np.array([0.0, 0.35 * opening]) * (1.0 - along**2)[:, None]
        _fill(picture, pose, np.concatenate([upper, teeth[::-1]]), _WHITE)
    lips = _shade((206, 92, 96), 0.72 + 0.28 * look.skin[0] / 255)
    _stroke(picture, pose, upper, lips, 0.05)
    _stroke(picture, pose, lower, lips, 0.055)


def _develop(picture: Picture, look: Look, t: float) -> Picture:
    """Light and grain; the grain field is cut at another place every moment."""
    height, width = picture.shape[:2]
    step = round(t * 1000)
    top, left = (step * 7) % _NOISE_MARGIN, (step * 13) % _NOISE_MARGIN
    grain = np.ascontiguousarray(look.grain[top : top + height, left : left + width])
    lit = cv2.convertScaleAbs(picture, alpha=look.light, beta=0)
    noisy: Picture = cv2.add(lit, grain, dtype=cv2.CV_8U)
    return noisy
