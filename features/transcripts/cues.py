"""Cues of any format to utterances: ends that are missing, captions that roll, the end of the media."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from features.identity import MICROSECONDS
from features.records import Utterance, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_GUESS_US = 5 * MICROSECONDS
_TOUCHING_US = MICROSECONDS // 10
_FEWEST_ECHOES = 3
_ECHO_SHARE = 0.2


class Cue(NamedTuple):
    """Text on screen, line by line, styles stripped; `end_us` may lie at or before `start_us`: the end is not known."""

    start_us: int
    end_us: int
    lines: tuple[str, ...]
    speaker: str | None = None
    words: tuple[Word, ...] = ()


def utterances_of(cues: Iterable[Cue], source: str, language: str | None = None) -> tuple[Utterance, ...]:
    """Utterances of cues in any order: what says nothing is left out, what is said alike at one time is kept once.

    A cue without a true end lasts to the next, five seconds at most. Of captions that roll, and repeat what stood there
    before, each line is said once.

    Args:
        cues: Cues of one text.
        source: `source` of the utterances.
        language: BCP 47 tag of the utterances, or None.

    Returns:
        Utterances by start.
    """
    cleaned = (cue._replace(lines=tuple(line for line in cue.lines if line)) for cue in cues)
    ordered = sorted((cue for cue in cleaned if cue.lines), key=lambda cue: (cue.start_us, cue.end_us))
    said = (
        Utterance(cue.start_us, cue.end_us, " ".join(cue.lines), source, language, cue.speaker, _matching(cue))
        for cue in _unrolled(_ended(ordered))
    )
    return tuple(dict.fromkeys(said))


def fit_to(
    utterances: Sequence[Utterance], end_us: int | None, *, grace_us: int = 0
) -> tuple[tuple[Utterance, ...], int]:
    """Utterances within the media: one that lasts past its end is cut there, one that starts past it is dropped.

    Args:
        utterances: Text on the media's timeline.
        end_us: Where its pictures and its sound end; None where it has neither.
        grace_us: By how much one may last past the end and stay as it is.

    Returns:
        What is left, and how many were dropped.
    """
    if end_us is None:
        return tuple(utterances), 0
    kept = [utterance for utterance in utterances if utterance.start_us < end_us]
    cut = (one if one.end_us <= end_us + grace_us else _cut(one, end_us) for one in kept)
    return tuple(cut), len(utterances) - len(kept)


def _cut(utterance: Utterance, end_us: int) -> Utterance:
    words = (word for word in utterance.words if word.start_us < end_us)
    inside = tuple(word._replace(end_us=min(word.end_us, end_us)) for word in words)
    return replace(utterance, end_us=end_us, words=inside)


def _ended(cues: Sequence[Cue]) -> list[Cue]:
    starts = [cue.start_us for cue in cues]
    return [cue if cue.end_us > cue.start_us else cue._replace(end_us=_guess(starts, i)) for i, cue in enumerate(cues)]


def _guess(starts: Sequence[int], index: int) -> int:
    start_us = starts[index]
    last = start_us + _LONGEST_GUESS_US
    later = bisect_right(starts, start_us)
    return min(starts[later], last) if later < len(starts) else last


def _unrolled(cues: Sequence[Cue]) -> list[Cue]:
    """Each line once, where cues follow each other that repeat what stood there before; else the cues as they are."""
    echoes = sum(_echoes(before, cue) > 0 or _grows(before, cue) for before, cue in itertools.pairwise(cues))
    if echoes < max(_FEWEST_ECHOES, _ECHO_SHARE * len(cues)):
        return list(cues)
    said: list[Cue] = []
    for before, cue in zip([None, *cues], cues, strict=False):
        if before is not None and _grows(before, cue) and said:
            said[-1] = cue._replace(start_us=said[-1].start_us)
            continue
        new = cue.lines[_echoes(before, cue) if before is not None else 0 :]
        if new:
            said.append(cue._replace(lines=new))
        elif said and said[-1].lines[-len(cue.lines) :] == cue.lines:
            said[-1] = said[-1]._replace(end_us=max(said[-1].end_us, cue.end_us))
    return said


def _echoes(before: Cue, cue: Cue) -> int:
    """How many lines, from the first on, are the last ones of the cue before."""
    if not _touch(before, cue):
        return 0
    for count in range(min(len(before.lines), len(cue.lines)), 0, -1):
        if before.lines[-count:] == cue.lines[:count]:
            return count
    return 0


def _grows(before: Cue, cue: Cue) -> bool:
    """Whether a cue of one line is the one before with more letters, as where captions are typed live."""
    alone = len(before.lines) == len(cue.lines) == 1
    return alone and _touch(before, cue) and cue.lines != before.lines and cue.lines[0].startswith(before.lines[0])


def _touch(before: Cue, cue: Cue) -> bool:
    return cue.start_us > before.start_us and cue.start_us <= before.end_us + _TOUCHING_US


def _matching(cue: Cue) -> tuple[Word, ...]:
    """A cue's words, where they stand in the lines that are left, in this order."""
    text, position = " ".join(cue.lines), 0
    for word in cue.words:
        found = text.find(word.word, position)
        if found < 0:
            return ()
        position = found + len(word.word)
    return cue.words
