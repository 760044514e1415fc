"""Stretches of speech, as silero-vad finds them; recognisers hear nothing else."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from features.extractors.base import Extractor
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow, sound_windows, span_of
from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from features.identity import Span
    from features.records import MediaRows, Utterance

    Samples = npt.NDArray[np.float32]

BLOCK_US = 60 * MICROSECONDS
LONGEST_SECONDS = 15.0
SHORTEST_SPEECH_MS = 250
PAUSE_MS = 800
PAD_MS = 300
SPEECH_THRESHOLD = 0.5

SPEECH_PARAMETERS = (
    ("block_us", str(BLOCK_US)),
    ("speech_threshold", str(SPEECH_THRESHOLD)),
    ("shortest_speech_ms", str(SHORTEST_SPEECH_MS)),
    ("pause_ms", str(PAUSE_MS)),
    ("pad_ms", str(PAD_MS)),
    ("longest_seconds", str(LONGEST_SECONDS)),
)
"""What changes a recogniser's output, for its spec."""


class Recogniser(Extractor):
    """A speech recogniser, whose items are blocks of sound and whose outputs are their utterances.

    A batch would only spread the damage of a bad block, so the model gets one at a time.
    """

    batch_size = 1

    def prepare(self, rows: MediaRows) -> Iterator[SoundWindow]:
        """Blocks of up to 60 s, a chunk of sound decoded at a time."""
        return sound_windows(rows, window_us=BLOCK_US)

    def finish(
        self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[tuple[Utterance, ...]]
    ) -> Sequence[Utterance]:
        """The utterances of all blocks."""
        return [utterance for output in outputs for utterance in output]

    def slim(self, item: SoundWindow) -> Span:
        """Its place on the timeline."""
        return span_of(item)


class SpeechDetector:
    """silero-vad, loaded once. It keeps state while it listens: one caller at a time."""

    def __init__(self) -> None:
        self._detector = _load_detector()

    def __call__(self, samples: Samples) -> list[tuple[int, int]]:
        """Stretches of speech as indices of samples, `[begin, end)`, cut at pauses where longer than 15 s.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [num_samples].
        """
        import torch
        from silero_vad import get_speech_timestamps

        found = get_speech_timestamps(
            torch.tensor(samples),
            self._detector,
            threshold=SPEECH_THRESHOLD,
            sampling_rate=SAMPLE_RATE_HZ,
            min_speech_duration_ms=SHORTEST_SPEECH_MS,
            max_speech_duration_s=LONGEST_SECONDS,
            min_silence_duration_ms=PAUSE_MS,
            speech_pad_ms=PAD_MS,
        )
        return [(int(item["start"]), int(item["end"])) for item in found]


def _load_detector() -> Any:  # noqa: ANN401 - silero-vad has no types
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load. is deprecated", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="path is deprecated", category=DeprecationWarning)
        from silero_vad import load_silero_vad

        return load_silero_vad()
