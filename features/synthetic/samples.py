"""What a synthetic sample is: a binary mood, and how strongly each modality shows it.

A modality's latent strength is the mood's sign times `EFFECT`, plus independent normal noise of variance 1. The best
guess from one latent is right in 76 % of the samples, from all three in 89 %: each modality carries the mood only in
part, and fusing them helps by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.errors import ConfigError
from features.synthetic.faces import draw_face, make_look
from features.synthetic.sentences import make_sentence
from features.synthetic.sounds import make_sound

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "CLASSES",
    "EFFECT",
    "MODALITIES",
    "draw_face",
    "draw_labels",
    "draw_latents",
    "make_look",
    "make_sentence",
    "make_sound",
]

CLASSES = ("negative", "positive")
"""The moods, negative first."""

MODALITIES = ("video", "audio", "text")
"""What a sample shows its mood in."""

EFFECT = 0.72
"""Distance of a latent's mean from zero, in standard deviations of its noise."""


def draw_labels(num_samples: int, rng: np.random.Generator) -> list[str]:
    """As many of one class as of the other (give or take one), in random order."""
    order = rng.permutation(num_samples)
    return [CLASSES[int(position) % len(CLASSES)] for position in order]


def draw_latents(label: str, rng: np.random.Generator, *, noise: Collection[str] = ()) -> dict[str, float]:
    """Latent strength of each modality for one sample.

    Args:
        label: One of `CLASSES`.
        rng: Source of chance; the same number of draws whatever `noise` is.
        noise: Modalities whose latent follows a coin instead of the label.

    Raises:
        ConfigError: `noise` names no modality.
    """
    if unknown := sorted(set(noise) - set(MODALITIES)):
        message = f"there is no modality {unknown[0]!r} to turn to noise; choose from {', '.join(MODALITIES)}"
        raise ConfigError(message)
    sign = 1.0 if label == CLASSES[1] else -1.0
    coins = rng.choice((-1.0, 1.0), len(MODALITIES))
    errors = rng.normal(0.0, 1.0, len(MODALITIES))
    return {
        modality: float((coin if modality in noise else sign) * EFFECT + error)
        for modality, coin, error in zip(MODALITIES, coins, errors, strict=True)
    }
