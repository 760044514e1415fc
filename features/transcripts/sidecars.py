"""Subtitle files beside a media: which belong to it, and what they say."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import TranscriptionError
from features.transcripts.language import language_tag
from features.transcripts.subtitles import parse_subtitles, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.records import Utterance

SIDECAR_SUFFIXES = frozenset({".srt", ".vtt"})
"""Suffixes of subtitle files that stand beside a media."""

_LANGUAGE_SUFFIX = re.compile(
    r"\.([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)(?:\.(?:forced|sdh|cc|default))?$", re.IGNORECASE
)


def find_sidecars(path: Path) -> tuple[Path, ...]:
    """Subtitle files beside a media: `name.srt`, `name.vtt`, `name.en.srt`; the case of the suffix is free.

    Args:
        path: A media file, `name.mp4`.

    Returns:
        Their paths, sorted; none where the folder cannot be read.
    """
    try:
        files = [str(file) for file in path.parent.iterdir()]
    except OSError:
        return ()
    return tuple(map(Path, group_sidecars(files).get(stem_of(str(path)), ())))


def stem_of(path: str) -> str:
    """A path without its suffix: what a media and its subtitle files share."""
    return os.path.splitext(path)[0]  # noqa: PTH122 - a listing may hold a million; a Path for each takes minutes


def group_sidecars(files: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Subtitle files by the media that they stand beside, for a whole listing at once.

    Args:
        files: Paths of all files of one or more folders.

    Returns:
        For a media's path without its suffix, its subtitle files, sorted. `talk.en.srt` belongs to `talk.mp4`
        unless there is a `talk.en.mp4`.
    """
    subtitles, others = [], set()
    for file in files:
        if is_sidecar(file):
            subtitles.append(file)
        else:
            others.add(stem_of(file))
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for subtitle in sorted(subtitles):
        stem = stem_of(subtitle)
        groups[stem].append(subtitle)
        shorter = _LANGUAGE_SUFFIX.sub("", stem)
        if shorter != stem and not shorter.endswith(os.sep) and stem not in others:
            groups[shorter].append(subtitle)
    return {stem: tuple(group) for stem, group in groups.items()}


def is_sidecar(path: str) -> bool:
    """Whether a file's name is one of a subtitle file."""
    return path[-4:].lower() in SIDECAR_SUFFIXES


def read_sidecar(path: Path) -> tuple[Utterance, ...]:
    """Utterances of a subtitle file, with the language that its name states.

    Args:
        path: A SubRip or WebVTT file.

    Returns:
        Utterances of source `sidecar`, by start.

    Raises:
        TranscriptionError: It cannot be read, or holds no usable cue.
    """
    found = _LANGUAGE_SUFFIX.search(path.stem)
    language = language_tag(found[1]) if found else None
    return parse_subtitles(read_text(path), name=str(path), source="sidecar", language=language)


def read_sidecars(
    paths: Sequence[Path],
) -> tuple[tuple[Utterance, ...], tuple[tuple[Path, TranscriptionError], ...]]:
    """Utterances of all good subtitle files; a bad one costs only itself.

    Returns:
        Utterances by start, and each bad file with why.
    """
    utterances: list[Utterance] = []
    problems: list[tuple[Path, TranscriptionError]] = []
    for path in paths:
        try:
            utterances.extend(read_sidecar(path))
        except TranscriptionError as error:
            problems.append((path, error))
    utterances.sort(key=lambda utterance: (utterance.start_us, utterance.end_us))
    return tuple(utterances), tuple(problems)
