"""Which text of a media to use where it has several."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from features.records import Utterance

_BEST_FIRST = ("subtitle", "sidecar", "asr")
_PARTIAL = frozenset({"forced", "commentary"})


class _Rank(NamedTuple):
    """Smaller is better."""

    partial: bool
    recognised: bool
    untimed: bool
    kind: int
    hearing_impaired: bool
    number: int
    name: str


def best_text(
    utterances: Sequence[Utterance], *, exclude: Collection[str] = (), language: str | None = None
) -> tuple[Utterance, ...]:
    """The best text that one media has: subtitle before sidecar before recognised speech.

    One for the hard of hearing comes after a full one in its language, and one without times after those that have
    any. What says only a part - forced subtitles, a commentary - comes even after recognised speech.

    Args:
        utterances: All text of one media, of any source.
        exclude: Sources to leave out: a class (`asr`) or one source of it (`asr:pocketsphinx`).
        language: The media's default language, preferred where the class has several.

    Returns:
        All utterances of the best class that is there, in one language and of one source, by start.
    """
    allowed = [utterance for utterance in utterances if not _excluded(utterance.source, exclude)]
    if not allowed:
        return ()
    best = min(allowed, key=lambda utterance: _preference(utterance, language))
    chosen = [row for row in allowed if row.source == best.source and row.language == best.language]
    return tuple(sorted(chosen, key=lambda utterance: (utterance.start_us, utterance.end_us)))


def source_rank(source: str) -> tuple[bool, bool, bool, int, bool, int, str]:
    """Order of sources where languages do not matter; smaller is better.

    Args:
        source: As it stands in a row: `subtitle`, `sidecar:2`, `subtitle:forced`, `asr:pocketsphinx`.
    """
    kind, *marks = source.split(":")
    rank = _BEST_FIRST.index(kind) if kind in _BEST_FIRST else len(_BEST_FIRST)
    authored = kind in _BEST_FIRST[:2]
    number = next((int(mark) for mark in marks if mark.isdecimal()), 1) if authored else 1
    named = set(marks) if authored else set[str]()
    return _Rank(bool(_PARTIAL & named), not authored, "untimed" in named, rank, "sdh" in named, number, source)


def _excluded(source: str, exclude: Collection[str]) -> bool:
    return source in exclude or source.partition(":")[0] in exclude


def _preference(utterance: Utterance, language: str | None) -> tuple[object, ...]:
    """Smaller is better: class, the default language, then a full text, any language, the language by name."""
    rank, own = _Rank(*source_rank(utterance.source)), utterance.language
    foreign = own is None or own.partition("-")[0] != (language or "").partition("-")[0]
    fits = foreign, foreign or own != language, rank.hearing_impaired, own is None, own or ""
    return *rank[:4], *fits, rank.number, rank.name
