"""A tiny archive with the faults of a real one, and the rows that it must come to."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.synthetic.clips import FRAME_RATE, Cue, srt_text, write_clip

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000
_RATE_HZ = 16_000


@dataclass(frozen=True)
class Clips:
    """Where they are; `names` sorted."""

    folder: Path
    names: tuple[str, ...] = (
        "copy.mp4",  # of talk.mp4, byte for byte; ingested first, for it sorts first
        "noted.mp4",  # with a sidecar
        "silent.mp4",  # no sound track
        "talk.mp4",  # with a subtitle track
        "torn.mp4",  # truncated
        "wordless.mp4",  # no text
    )

    def path(self, name: str) -> Path:
        return self.folder / name


def make_clips(folder: Path) -> Clips:
    """Six clips of 2 or 3 seconds, 160x120."""
    cue = Cue(250_000, 1_750_000, "what a day")
    make_clip(folder / "talk.mp4", grey=60, hertz=300, cue=cue)
    make_clip(folder / "noted.mp4", grey=90, hertz=500, seconds=3)
    (folder / "noted.srt").write_text(srt_text([cue]))
    make_clip(folder / "silent.mp4", grey=120, hertz=None, cue=cue)
    make_clip(folder / "torn.mp4", grey=150, hertz=700)
    make_clip(folder / "wordless.mp4", grey=180, hertz=900)
    shutil.copyfile(folder / "talk.mp4", folder / "copy.mp4")
    torn = folder / "torn.mp4"
    torn.write_bytes(torn.read_bytes()[:2000])
    return Clips(folder)


def make_clip(path: Path, *, grey: int, hertz: float | None, seconds: int = 2, cue: Cue | None = None) -> None:
    """Slowly brightening grey, and a tone."""
    times = np.arange(seconds * _RATE_HZ) / _RATE_HZ
    write_clip(
        path,
        num_frames=seconds * FRAME_RATE,
        picture_at=lambda t_seconds: np.full((120, 160, 3), grey + round(10 * t_seconds), np.uint8),
        sound=None if hertz is None else (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32),
        cues=[cue] if cue else [],
    )
