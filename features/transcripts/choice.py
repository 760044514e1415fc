"""Which text of a media to use where it has several."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from features.records import Utterance

_BEST_FIRST = ("subtitle", "sidecar", "asr")


def best_text(
    utterances: Sequence[Utterance], *, exclude: Collection[str] = (), language: str | None = None
) -> tuple[Utterance, ...]:
    """The best text that one media has: subtitle before sidecar before recognised speech.

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


def _excluded(source: str, exclude: Collection[str]) -> bool:
    return source in exclude or _class_of(source) in exclude


def _class_of(source: str) -> str:
    return source.partition(":")[0]


def _preference(utterance: Utterance, language: str | None) -> tuple[int, str, bool, bool, str]:
    """Smaller is better: class, then source by name, the default language, any language, the language by name."""
    kind = _class_of(utterance.source)
    rank = _BEST_FIRST.index(kind) if kind in _BEST_FIRST else len(_BEST_FIRST)
    own = utterance.language
    return rank, utterance.source, own != language or own is None, own is None, own or ""
