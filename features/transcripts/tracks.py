"""Several texts of one media: which say the same, and what each is called in `source`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.records import Utterance

Kind = Literal["", "sdh", "untimed", "commentary", "forced"]
"""What a text is: all that is said; the same for the hard of hearing, with sounds; all that is said, but without times;
remarks on the pictures; only what is foreign or written in them."""

_MILLISECOND_US = 1000


class Track(NamedTuple):
    """One text of a media; `utterances` have its language, and are named by `name_tracks`."""

    kind: Kind
    utterances: tuple[Utterance, ...]

    @property
    def language(self) -> str | None:
        """BCP 47 tag, or None."""
        return self.utterances[0].language if self.utterances else None


def name_tracks(base: str, tracks: Iterable[Track]) -> tuple[Utterance, ...]:
    """Utterances of all texts, each text with a `source` of its own: none is mixed with another on reading.

    The first full text in a language is `subtitle`, the next `subtitle:2`; others say what they are: `subtitle:sdh`,
    `subtitle:forced`. Of texts that say the same at the same times one is kept, the one that tells most.

    Args:
        base: `subtitle` or `sidecar`.
        tracks: Texts, the one to prefer first.

    Returns:
        Utterances by start.
    """
    counts: dict[tuple[Kind, str | None], int] = {}
    named: list[Utterance] = []
    for track in _once([track for track in tracks if track.utterances]):
        count = counts[track.kind, track.language] = counts.get((track.kind, track.language), 0) + 1
        source = ":".join([base, *filter(None, [track.kind]), *([str(count)] if count > 1 else [])])
        named += [replace(utterance, source=source) for utterance in track.utterances]
    return tuple(sorted(named, key=lambda utterance: (utterance.start_us, utterance.end_us)))


def _once(tracks: Sequence[Track]) -> Sequence[Track]:
    kept: list[Track] = []
    for track in tracks:
        same = next((index for index, other in enumerate(kept) if _alike(track, other)), None)
        if same is None:
            kept.append(track)
        elif _tells(track) > _tells(kept[same]):
            kept[same] = track._replace(kind=kept[same].kind)
    return kept


def _alike(one: Track, other: Track) -> bool:
    """Whether two texts say the same: at the same times to the millisecond, or one of them without any."""
    if one.language and other.language and one.language != other.language:
        return False
    if "untimed" in (one.kind, other.kind):
        return _words(one) == _words(other)
    return len(one.utterances) == len(other.utterances) and all(map(_same, one.utterances, other.utterances))


def _same(one: Utterance, other: Utterance) -> bool:
    near = abs(one.start_us - other.start_us) <= _MILLISECOND_US and abs(one.end_us - other.end_us) <= _MILLISECOND_US
    return near and one.text == other.text


def _words(track: Track) -> list[str]:
    return " ".join(utterance.text for utterance in track.utterances).split()


def _tells(track: Track) -> tuple[bool, bool, bool, bool]:
    """What a text tells beside its words: its times, its language, its speakers, the times of words."""
    utterances = track.utterances
    return (
        track.kind != "untimed",
        track.language is not None,
        any(utterance.speaker for utterance in utterances),
        any(utterance.words for utterance in utterances),
    )
