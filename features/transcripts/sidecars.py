"""Text files beside a media: which belong to it, and what they say."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.errors import TranscriptionError
from features.identity import MICROSECONDS
from features.records import Utterance
from features.transcripts.cues import fit_to
from features.transcripts.encoding import read_text
from features.transcripts.json_text import parse_json
from features.transcripts.language import language_tag
from features.transcripts.styles import plain_text
from features.transcripts.subtitles import parse_subtitles
from features.transcripts.tracks import Kind, Track, name_tracks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIDECAR_SUFFIXES = frozenset({".ass", ".json", ".srt", ".ssa", ".txt", ".vtt"})
"""Suffixes of text files that stand beside a media."""

_SUFFIXES = tuple(SIDECAR_SUFFIXES)
_LONGEST_SUFFIX = max(map(len, _SUFFIXES))
_NOTES = "(?:forced|sdh|cc|hi|default|full|commentary)"
_MARKS = re.compile(
    rf"(?:\.(?!(?:sdh|cc)(?:\.|$))(?P<language>[A-Za-z]{{2,3}}(?:[-_][A-Za-z0-9]{{2,8}})*))?(?P<notes>(?:\.{_NOTES})*)$",
    re.IGNORECASE,
)
_KINDS: dict[str, Kind] = {
    "forced": "forced",
    "commentary": "commentary",
    "sdh": "sdh",
    "cc": "sdh",
    "hi": "sdh",
}
_HEADER_LETTERS = 2000
_KIND_ORDER: tuple[Kind, ...] = ("", "sdh", "untimed", "commentary", "forced")
_VTT_LANGUAGE = re.compile(r"\A\s*WEBVTT[^\n]*\n(?:[^\n]+\n)*?Language:[ \t]*([A-Za-z0-9_-]+)")


class _Name(NamedTuple):
    """What a file's name tells of its text."""

    language: str | None
    kind: Kind
    is_default: bool


def find_sidecars(path: Path) -> tuple[Path, ...]:
    """Text files beside a media: `name.srt`, `name.en.vtt`, `name.en.forced.ass`; the case of the suffix is free.

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
        shorter = _MARKS.sub("", stem, count=1)
        if shorter != stem and not shorter.endswith(os.sep) and stem not in others:
            groups[shorter].append(subtitle)
    return {stem: tuple(group) for stem, group in groups.items()}


def is_sidecar(path: str) -> bool:
    """Whether a file's name is one of a text beside a media."""
    return path[-_LONGEST_SUFFIX:].lower().endswith(_SUFFIXES)


def read_sidecar(path: Path, *, media: Path | None = None, end_us: int | None = None) -> tuple[Utterance, ...]:
    """Utterances of a text file, with the language that its name states, or else the file.

    Args:
        path: SubRip, WebVTT, ASS or SSA; a transcript in JSON; or a plain text, which is one utterance.
        media: The media that it stands beside, whose name may have points in it.
        end_us: Where the media ends: that is how long a plain text lasts.

    Returns:
        Utterances of source `sidecar`, by start.

    Raises:
        TranscriptionError: It cannot be read, or holds no usable cue.
    """
    language = _name_of(path, media).language
    content, name = read_text(path, language=language), str(path)
    if path.suffix.lower() == ".txt":
        return _plain(content, name, language, end_us)
    if path.suffix.lower() == ".json":
        return parse_json(content, name=name, language=language)
    stated = None if language else _VTT_LANGUAGE.match(content.replace("\r\n", "\n")[:_HEADER_LETTERS])
    language = language_tag(stated[1]) if stated else language
    return parse_subtitles(content, name=name, language=language)


def read_sidecars(
    paths: Sequence[Path], *, media: Path | None = None, end_us: int | None = None
) -> tuple[tuple[Utterance, ...], tuple[tuple[Path, TranscriptionError], ...]]:
    """Utterances of all good text files of a media; a bad one costs only itself.

    Each text has a `source` of its own, as `name_tracks` says; one that says what another does is left out. Cues are
    cut where the media ends, and those that start later are dropped.

    Args:
        paths: Text files beside the media.
        media: The media.
        end_us: Where its pictures and its sound end; None where it has neither.

    Returns:
        Utterances by start, and each bad file with why: also one of which cues were dropped.
    """
    tracks: list[tuple[tuple[int, bool, bool], Track]] = []
    problems: list[tuple[Path, TranscriptionError]] = []
    for path in paths:
        name, suffix = _name_of(path, media), path.suffix.lower()
        try:
            said = read_sidecar(path, media=media, end_us=end_us)
        except TranscriptionError as error:
            problems.append((path, error))
            continue
        kept, dropped = fit_to(said, end_us)
        if dropped:
            problems.append((path, past_the_end(repr(str(path)), dropped, len(said), end_us or 0)))
        kind: Kind = "untimed" if suffix == ".txt" and not name.kind else name.kind
        tracks.append(((_KIND_ORDER.index(kind), not name.is_default, suffix == ".json"), Track(kind, kept)))
    tracks.sort(key=lambda entry: entry[0])
    return name_tracks("sidecar", [track for _, track in tracks]), tuple(problems)


def past_the_end(what: str, dropped: int, count: int, end_us: int) -> TranscriptionError:
    """The error for cues that start after their media's end."""
    cues = "1 cue" if dropped == 1 else f"{dropped} cues"
    return TranscriptionError(
        f"{cues} of {count} of {what} left out: they start after the media's end ({end_us / MICROSECONDS:.3f} s); "
        "check that the text belongs to this cut of the media"
    )


def _name_of(path: Path, media: Path | None) -> _Name:
    """What a file's name tells, beyond the name of the media."""
    stem = path.stem
    marks = stem.removeprefix(media.stem) if media is not None else stem
    found = _MARKS.search(marks)
    notes = found["notes"].lower().split(".") if found else []
    kinds = [_KINDS[note] for note in notes if note in _KINDS]
    kind: Kind = max(kinds, key=_KIND_ORDER.index, default="")
    return _Name(language_tag(found["language"]) if found else None, kind, "default" in notes)


def _plain(content: str, name: str, language: str | None, end_us: int | None) -> tuple[Utterance, ...]:
    """A text without times: it is said from the start to the end."""
    words = plain_text(content)
    if not words:
        message = f"no words in {name!r} ({len(content)} characters of white space); write them, or remove it"
        raise TranscriptionError(message)
    return (Utterance(0, max(end_us or 0, 1), words, "sidecar", language),)
