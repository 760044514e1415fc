"""Shots against generated videos whose cuts are known to the microsecond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest

from features.media.shots import ShotDetector, clip_to_shots

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.records import Shot

    Picture = npt.NDArray[np.uint8]

SECOND = 1_000_000
WIDTH, HEIGHT = 160, 90
WHITE = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)


class Scene:
    """A picture with structure at all scales, that a camera moves over; some are dark, some pan fast, some zoom."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.noise = rng
        kind = rng.choice(["still", "pan", "fast", "zoom", "dark"])
        level, spread = (25, 10) if kind == "dark" else (rng.uniform(70, 180), rng.uniform(25, 45))
        size = (3 * WIDTH, 3 * HEIGHT)
        layers = [
            cv2.resize(rng.normal(0, 1, (n, n, 3)), size, interpolation=cv2.INTER_CUBIC) / n**0.5 for n in (4, 16, 64)
        ]
        self.picture = np.clip(level + spread * sum(layers) / np.std(sum(layers)), 0, 255).astype(np.float32)
        self.speed = {"pan": 0.3, "dark": 0.2, "fast": 1.0}.get(kind, 0.0) * HEIGHT
        self.zoom = 0.4 if kind == "zoom" else 0.0
        self.turn = rng.uniform(0, 6.3)

    def at(self, seconds: float) -> Picture:
        scale = np.exp(-self.zoom * seconds)
        x = WIDTH + self.speed * np.cos(self.turn) * seconds + WIDTH * (1 - scale) / 2
        y = HEIGHT + self.speed * np.sin(self.turn) * seconds + HEIGHT * (1 - scale) / 2
        move = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        seen = cv2.warpAffine(self.picture, move, (WIDTH, HEIGHT), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
        return np.clip(seen + self.noise.normal(0, 2, seen.shape), 0, 255).astype(np.uint8)


def steps(fps: float, rng: np.random.Generator, *, variable: bool) -> Iterator[float]:
    while True:
        yield (rng.choice([0.5, 1, 1, 2, 3]) if variable else 1) / fps


def montage(
    seed: int, fps: float, *, num_shots: int = 10, variable: bool = False
) -> tuple[list[tuple[int, Picture]], list[int]]:
    """Frames with their times, and the times of the cuts."""
    rng = np.random.default_rng(seed)
    frames: list[tuple[int, Picture]] = []
    cuts, now = [], 0.0
    waits = steps(fps, rng, variable=variable)
    for _ in range(num_shots):
        scene, start, length = Scene(rng), now, rng.uniform(0.6, 1.6)
        cuts.append(round(now * SECOND))
        while now < start + length:
            frames.append((round(now * SECOND), scene.at(now - start)))
            now += next(waits)
    return frames, cuts[1:]


def detect(frames: Sequence[tuple[int, Picture]], fps: float = 25, *, is_start: bool = True) -> tuple[Shot, ...]:
    detector = ShotDetector(fps, is_start=is_start)
    for t_us, picture in frames:
        detector.add(av.VideoFrame.from_ndarray(picture, "bgr24"), t_us)
    return detector.finish(frames[-1][0] + round(SECOND / fps))


def begun(shots: Sequence[Shot], how: str) -> list[int]:
    return [shot.start_us for shot in shots if shot.begins == how]


def still(seed: int, seconds: float, start: float = 0, fps: int = 25) -> list[tuple[int, Picture]]:
    rng = np.random.default_rng(seed)
    scene = Scene(rng)
    scene.speed, scene.zoom = 20.0, 0.0
    scene.picture = 60 + scene.picture
    count = range(round(seconds * fps))
    return [(round((start + index / fps) * SECOND), scene.at(index / fps)) for index in count]


def dim(frames: Sequence[tuple[int, Picture]], start: float, end: float) -> list[tuple[int, Picture]]:
    levels = np.linspace(start, end, len(frames))
    return [(t_us, (picture * level).astype(np.uint8)) for (t_us, picture), level in zip(frames, levels, strict=True)]


@pytest.mark.parametrize(("fps", "variable"), [(12, False), (25, False), (60, False), (25, True)])
def test_hard_cuts_are_found_at_their_very_frame(fps: int, variable: bool) -> None:
    hits = wrong = missed = 0
    for seed in range(1 if fps == 60 else 2):
        frames, cuts = montage(seed, fps, variable=variable)
        found = set(begun(detect(frames, fps), "cut"))
        hits, wrong, missed = hits + len(found & {*cuts}), wrong + len(found - {*cuts}), missed + len({*cuts} - found)
    assert 2 * hits / (2 * hits + wrong + missed) >= 0.95


def test_shots_tile_the_video() -> None:
    frames, _ = montage(3, 25, num_shots=4)
    late = [(t_us + 300_000, picture) for t_us, picture in frames]
    shots = detect(late)
    assert shots[0].start_us == 300_000
    assert shots[0].begins == "start"
    assert shots[-1].end_us == late[-1][0] + 40_000
    assert [shot.end_us for shot in shots[:-1]] == [shot.start_us for shot in shots[1:]]


@pytest.mark.parametrize("length", [1, 3])
def test_a_flash_is_no_cut(length: int) -> None:
    frames = still(5, 4)
    for index in range(40, 40 + length):
        frames[index] = (frames[index][0], cv2.addWeighted(frames[index][1], 0.2, WHITE, 0.8, 0))
    frames[70] = (frames[70][0], np.zeros_like(WHITE))  # and one that dropped out
    assert [shot.begins for shot in detect(frames)] == ["start"]


def test_a_fade_through_black_begins_where_the_picture_comes_up() -> None:
    out, black, into = still(6, 2), dim(still(7, 0.6, 2), 0, 0), still(8, 2, 2.6)
    frames = [*out[:25], *dim(out[25:], 1, 0), *black, *dim(into[:25], 0.05, 1), *into[25:]]
    shots = detect(frames)
    assert [shot.begins for shot in shots] == ["start", "fade"]
    assert shots[1].start_us == pytest.approx(2_600_000, abs=160_000)


def test_a_video_that_begins_in_black_has_one_start() -> None:
    frames = [*dim(still(7, 0.6), 0, 0), *dim(still(9, 1, 0.6), 0.05, 1), *still(9, 1, 1.6)]
    assert [shot.begins for shot in detect(frames)][:1] == ["start"]
    assert "fade" not in [shot.begins for shot in detect(frames)]
    assert "fade" in [shot.begins for shot in detect(frames, is_start=False)]


def test_a_part_of_a_video_has_the_cuts_of_the_whole() -> None:
    frames, _ = montage(11, 25)
    whole = begun(detect(frames), "cut")
    border_us = 6 * SECOND
    part = begun(detect([f for f in frames if f[0] >= border_us - 2 * SECOND], is_start=False), "cut")
    assert [t_us for t_us in part if t_us >= border_us] == [t_us for t_us in whole if t_us >= border_us]


def test_what_is_settled_changes_no_more_and_little_is_remembered() -> None:
    frames, _ = montage(12, 12)
    detector = ShotDetector(12)
    told: list[int] = []
    for t_us, picture in frames:
        detector.add(av.VideoFrame.from_ndarray(picture, "bgr24"), t_us)
        assert [b for b in detector.borders_us if b < detector.settled_us][: len(told)] == told
        told = [b for b in detector.borders_us if b < detector.settled_us]
        assert t_us - detector.settled_us <= 2 * SECOND
        assert len(detector._recent) <= 50
    assert told


def test_a_video_of_one_frame_and_of_none() -> None:
    assert ShotDetector(25).finish(0) == ()
    assert len(detect([(0, WHITE)])) == 1


def test_stretches_meet_in_the_middle_or_at_the_cut() -> None:
    assert clip_to_shots(0, 1000, []) == (500, 500)
    assert clip_to_shots(0, 1000, [0, 900, 1001]) == (900, 900)
    assert clip_to_shots(0, 1000, [1000]) == (1000, 1000)
    assert clip_to_shots(0, 1000, [300, 700]) == (300, 700)
