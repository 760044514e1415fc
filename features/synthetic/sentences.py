"""English sentences whose words each lean, more or less, to the mood."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

# Graded words: from strongly negative, over neutral, to strongly positive.
_GRADED: dict[str, tuple[tuple[str, ...], ...]] = {
    "adjective": (
        ("dreadful", "awful", "miserable", "unbearable", "horrible"),
        ("dull", "tiring", "disappointing", "gloomy", "clumsy"),
        ("ordinary", "long", "usual", "simple", "familiar"),
        ("pleasant", "friendly", "good", "charming", "cheerful"),
        ("wonderful", "brilliant", "delightful", "marvellous", "fantastic"),
    ),
    "verb": (
        ("hated", "dreaded", "despised"),
        ("disliked", "regretted", "put up with"),
        ("noticed", "remembered", "thought about"),
        ("liked", "enjoyed", "looked forward to"),
        ("loved", "adored", "treasured"),
    ),
    "opening": (
        ("Sadly", "To my horror", "Worst of all"),
        ("Unfortunately", "Once again, alas", "As I had feared"),
        ("As usual", "This time", "In the afternoon"),
        ("Luckily", "As I had hoped", "Thankfully"),
        ("Happily", "To my delight", "Best of all"),
    ),
    "ending": (
        ("I went home in tears", "I never want to go back", "it ruined the whole week"),
        ("I would rather forget it", "I left early", "nobody seemed to care"),
        ("we went home at six", "it took about an hour", "there were twenty of us"),
        ("it made me smile", "I would go again", "everybody was kind to us"),
        ("I could not stop laughing", "it was the best day of the year", "we danced all the way home"),
    ),
}
_NEUTRAL: dict[str, tuple[str, ...]] = {
    "subject": ("the concert", "our trip to the lake", "the new film", "the dinner at the station", "my first lesson"),
    "detail": ("the music", "the food", "the weather", "the company", "the welcome", "the journey"),
    "person": ("my neighbour", "the driver", "our teacher", "the girl next door", "my uncle"),
}
_TEMPLATES = (
    "{opening}, {subject} was {adjective}, and {ending}.",
    "I {verb} {subject}: {detail} was {adjective}, and {ending}.",
    "{opening}, {detail} was {adjective}. I {verb} {subject}, and {ending}.",
    "{opening}, {person} was {adjective} about {subject}, and {ending}.",
    "I {verb} what {person} said about {subject}; {ending}.",
)
_NEUTRAL_GRADE = 2
_SPREAD = 0.8  # how far a word strays from the mood, in grades


def make_sentence(latent: float, rng: np.random.Generator) -> str:
    """One or two English sentences that lean to a mood.

    Args:
        latent: Strength of the mood, about -3 to 3.
        rng: Source of chance: the template, the subject, and how far each word strays from the mood.
    """
    mood = math.tanh(latent / 1.6)
    words = {slot: _graded(choices, mood, rng) for slot, choices in _GRADED.items()}
    words |= _neutral(_NEUTRAL, rng)
    return _TEMPLATES[int(rng.integers(len(_TEMPLATES)))].format(**words)


def _graded(choices: Sequence[Sequence[str]], mood: float, rng: np.random.Generator) -> str:
    grade = _NEUTRAL_GRADE + 2.4 * mood + rng.normal(0.0, _SPREAD)
    words = choices[min(max(round(grade), 0), len(choices) - 1)]
    return words[int(rng.integers(len(words)))]


def _neutral(choices: Mapping[str, Sequence[str]], rng: np.random.Generator) -> dict[str, str]:
    return {slot: words[int(rng.integers(len(words)))] for slot, words in choices.items()}
