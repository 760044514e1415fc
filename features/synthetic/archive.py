"""The demo's archive: a folder of short labelled clips that stands for a real one, with the faults a real one has.

It is synthetic. A few dozen clips show the plumbing, not that fusion helps; for that see `evidence`.
"""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.errors import ConfigError
from features.identity import MICROSECONDS
from features.synthetic import samples
from features.synthetic.clips import FRAME_RATE, Cue, srt_text, write_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MARKER = ".triptych-archive.json"
_VERSION = 1
_TASK = "sentiment"
_LEAST_CLIPS = 8
_SHORTEST_SECONDS = 4.0
_LONGEST_SECONDS = 8.0
_TWO_CUES_SECONDS = 6.0
_KEPT_OF_TRUNCATED = 0.6  # the index stands at the end of an MP4, so what is left cannot be opened


NOTE = (
    "These clips are synthetic: drawn faces, made-up sounds and sentences. A few dozen show the plumbing, not that "
    "fusion helps: that is claimed only where the interval of the gain lies above 0."
)
"""What every report over a synthetic archive says."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the clips are, and which of them are odd.

    Attributes:
        folder: Holds everything.
        labels: CSV with columns `uri`, `task`, `class`; `uri` is a file name in `folder`.
        clips: All clips, in order of name.
        silent: The clip without sound.
        textless: The clip without text.
        truncated: The clip that cannot be opened.
        original: The clip that was copied.
        duplicate: Its copy, equal byte for byte.
    """

    folder: Path
    labels: Path
    clips: tuple[Path, ...]
    silent: Path
    textless: Path
    truncated: Path
    original: Path
    duplicate: Path


def make_archive(
    folder: Path, *, num_clips: int = 48, seed: int = 7, on_progress: Callable[[int, int], None] | None = None
) -> Archive:
    """Write the archive, unless the folder already holds it.

    Args:
        folder: New, empty, or holding the same archive from an earlier call.
        num_clips: How many clips, at least 8.
        seed: Start of the random numbers; the same seed gives the same bytes.
        on_progress: Called after each clip with the clips written and `num_clips`.

    Raises:
        ConfigError: `num_clips` is too small, or the folder holds something else.
    """
    if num_clips < _LEAST_CLIPS:
        message = f"an archive of {num_clips} clips is too small; ask for at least {_LEAST_CLIPS}"
        raise ConfigError(message)
    archive = _describe(folder, num_clips)
    wanted = {"version": _VERSION, "seed": seed, "num_clips": num_clips}
    if _holds(folder, wanted):
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    _write_marker(folder, wanted, complete=False)
    _write_clips(archive, seed, on_progress)
    _write_marker(folder, wanted, complete=True)
    return archive


def is_synthetic(folder: Path) -> bool:
    """Whether a folder is an archive that `make_archive` wrote."""
    return (folder / _MARKER).is_file()


def _describe(folder: Path, num_clips: int) -> Archive:
    clips = tuple(folder / f"clip_{index:03}.mp4" for index in range(num_clips))
    return Archive(
        folder=folder,
        labels=folder / "labels.csv",
        clips=clips,
        silent=clips[num_clips // 8],
        textless=clips[num_clips // 4 + 1],
        truncated=clips[num_clips // 2],
        original=clips[0],
        duplicate=clips[-1],
    )


def _holds(folder: Path, wanted: dict[str, int]) -> bool:
    """Whether the archive is there and whole; an unfinished one of the same kind is written anew."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        message = f"{str(folder)!r} is a file; name a folder for the demo's archive"
        raise ConfigError(message)
    marker = folder / _MARKER
    if not marker.exists():
        if any(folder.iterdir()):
            message = f"folder {str(folder)!r} holds other files; name a new or empty folder for the demo's archive"
            raise ConfigError(message)
        return False
    found = _read_marker(marker)
    if {key: found.get(key) for key in wanted} != wanted:
        message = (
            f"folder {str(folder)!r} holds another demo archive ({_words(found)}; wanted {_words(wanted)}); "
            "name another folder, or delete this one"
        )
        raise ConfigError(message)
    return bool(found.get("complete"))


def _read_marker(marker: Path) -> dict[str, object]:
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _words(values: dict[str, object] | dict[str, int]) -> str:
    return ", ".join(f"{key} {values.get(key)}" for key in ("version", "seed", "num_clips"))


def _write_marker(folder: Path, wanted: dict[str, int], *, complete: bool) -> None:
    content = json.dumps({**wanted, "complete": complete, "about": "synthetic clips made by `triptych demo`"}, indent=2)
    temporary = folder / f"{_MARKER}.new"
    temporary.write_text(content + "\n", encoding="utf-8")
    temporary.replace(folder / _MARKER)


def _write_clips(archive: Archive, seed: int, on_progress: Callable[[int, int], None] | None) -> None:
    root = np.random.default_rng(seed)
    moods = samples.draw_labels(len(archive.clips) - 1, root)
    generators = root.spawn(len(moods))
    embedded = _embedded(archive)
    for index, (mood, rng) in enumerate(zip(moods, generators, strict=True)):
        _write_sample(archive, archive.clips[index], mood, rng, embed=archive.clips[index] in embedded)
        if on_progress:
            on_progress(index + 1, len(archive.clips))
    shutil.copyfile(archive.original, archive.duplicate)
    _truncate(archive.truncated)
    _write_labels(archive, [*moods, moods[0]])
    if on_progress:
        on_progress(len(archive.clips), len(archive.clips))


def _embedded(archive: Archive) -> frozenset[Path]:
    """Clips whose text is inside the file: every second one that has text, and those that have no sidecar to lose."""
    with_text = [clip for clip in archive.clips if clip not in {archive.textless, archive.truncated, archive.duplicate}]
    return frozenset([*with_text[::2], archive.truncated])


def _write_sample(archive: Archive, clip: Path, mood: str, rng: np.random.Generator, *, embed: bool) -> None:
    latents = samples.draw_latents(mood, rng)
    look = samples.make_look(rng)
    num_frames = round(float(rng.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)) * FRAME_RATE)
    sound = samples.make_sound(latents["audio"], num_frames / FRAME_RATE, rng)
    cues = [] if clip == archive.textless else _cues(latents["text"], num_frames * MICROSECONDS // FRAME_RATE, rng)
    write_clip(
        clip,
        num_frames=num_frames,
        picture_at=lambda t_seconds: samples.draw_face(latents["video"], t_seconds, look),
        sound=None if clip == archive.silent else sound,
        cues=cues if embed else (),
    )
    if cues and not embed:
        clip.with_suffix(".srt").write_text(srt_text(cues), encoding="utf-8")


def _cues(latent: float, duration_us: int, rng: np.random.Generator) -> list[Cue]:
    """One sentence, or two in a longer clip, on whole milliseconds."""
    num_cues = 2 if duration_us >= _TWO_CUES_SECONDS * MICROSECONDS else 1
    margin_us = 200_000
    share_us = (duration_us - margin_us) // num_cues // 1000 * 1000
    starts = [margin_us + number * share_us for number in range(num_cues)]
    return [Cue(start, start + share_us - margin_us, samples.make_sentence(latent, rng)) for start in starts]


def _truncate(clip: Path) -> None:
    content = clip.read_bytes()
    clip.write_bytes(content[: int(len(content) * _KEPT_OF_TRUNCATED)])


def _write_labels(archive: Archive, moods: list[str]) -> None:
    with archive.labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["uri", "task", "class"])
        writer.writerows([clip.name, _TASK, mood] for clip, mood in zip(archive.clips, moods, strict=True))
