"""Synthetic samples in memory, without any video file: enough of them to show what fusion gains, in seconds."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from features.errors import ConfigError
from features.identity import MICROSECONDS, media_id_of_parts
from features.media.pictures import encode_jpeg
from features.records import AudioChunk, Frame, MediaRows, Utterance
from features.synthetic import samples
from features.synthetic.sounds import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Collection

    from features.synthetic.faces import Picture
    from features.synthetic.sounds import Samples

_NUM_FRAMES = 2
_DURATION_US = _NUM_FRAMES * MICROSECONDS
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Sample:
    """A media as an extractor gets it, with its truth.

    Attributes:
        media: Two pictures, one chunk of sound, one utterance, over two seconds.
        label: `negative` or `positive`.
        latents: Strength of the mood that each modality was made with.
    """

    media: MediaRows
    label: str
    latents: dict[str, float]


def make_samples(num_samples: int, *, seed: int = 7, noise: Collection[str] = ()) -> list[Sample]:
    """Labelled samples, the same for the same arguments.

    Args:
        num_samples: How many; half of them of each class. At least 400 are needed to show a gain.
        seed: Start of the random numbers.
        noise: Modalities (`video`, `audio`, `text`) whose content tells nothing about the label, for a control.

    Raises:
        ConfigError: `num_samples` is not positive, or `noise` names no modality.
    """
    if num_samples < 1:
        message = f"cannot make {num_samples} samples; ask for at least 1"
        raise ConfigError(message)
    root = np.random.default_rng(seed)
    labels = samples.draw_labels(num_samples, root)
    return [_make_sample(label, rng, noise) for label, rng in zip(labels, root.spawn(num_samples), strict=True)]


def _make_sample(label: str, rng: np.random.Generator, noise: Collection[str]) -> Sample:
    latents = samples.draw_latents(label, rng, noise=noise)
    look = samples.make_look(rng)
    frames = [_frame(samples.draw_face(latents["video"], float(second), look), second) for second in range(_NUM_FRAMES)]
    flac = _flac(samples.make_sound(latents["audio"], _DURATION_US / MICROSECONDS, rng))
    text = samples.make_sentence(latents["text"], rng)
    media = MediaRows(
        media_id=media_id_of_parts([*(frame.jpeg for frame in frames), flac, text.encode()]),
        duration_us=_DURATION_US,
        has_video=True,
        has_audio=True,
        has_text=True,
        frames=tuple(frames),
        audio=(AudioChunk(0, _DURATION_US, flac, SAMPLE_RATE_HZ),),
        utterances=(Utterance(0, _DURATION_US, text, "subtitle", "en"),),
    )
    return Sample(media, label, latents)


def _frame(picture: Picture, second: int) -> Frame:
    """A picture at the start of a second, as ingest samples one: it stands up to the midpoints to its neighbours."""
    t_us, half = second * MICROSECONDS, MICROSECONDS // 2
    last = second == _NUM_FRAMES - 1
    height, width = picture.shape[:2]
    return Frame(
        t_us=t_us,
        duration_us=MICROSECONDS,
        valid_start_us=max(0, t_us - half),
        valid_end_us=_DURATION_US if last else t_us + half,
        jpeg=encode_jpeg(picture, _JPEG_QUALITY),
        width=width,
        height=height,
    )


def _flac(sound: Samples) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
