"""`mfcc`: how the sound's spectrum is shaped, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.base import Extractor
from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow, feature_rows, sound_windows, span_of
from features.identity import MICROSECONDS
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.identity import Span
    from features.records import FeatureRow, MediaRows

    Array = npt.NDArray[np.float32]

N_MFCC = 20
N_FFT = 512
HOP_LENGTH = 160
N_MELS = 64
DELTA_WIDTH = 9
WINDOW_US = MICROSECONDS
SHORTEST_US = MICROSECONDS // 4


class MfccModel:
    """The mel filters, made once; librosa makes them anew at each call."""

    def __init__(self) -> None:
        from librosa.filters import mel

        self.filters = mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS)

    def __call__(self, samples: Array) -> Array:
        """Statistics of one window: float32, shape [80], of samples, float32, shape [num_samples]."""
        import librosa

        power = np.abs(librosa.stft(samples, n_fft=N_FFT, hop_length=HOP_LENGTH)) ** 2
        log_mel = librosa.power_to_db(self.filters @ power)  # relative to this window's own maximum, no other's
        mfcc = librosa.feature.mfcc(S=log_mel, n_mfcc=N_MFCC)  # [20, num_frames]
        delta = librosa.feature.delta(mfcc, width=DELTA_WIDTH)
        statistics = [mfcc.mean(axis=1), mfcc.std(axis=1), delta.mean(axis=1), delta.std(axis=1)]
        return np.concatenate(statistics).astype(np.float32)


class Mfcc(Extractor):
    """Mel-frequency cepstral coefficients and their change, summed up a second.

    Source: librosa 0.11, `feature.mfcc` and `feature.delta`, called for each window alone.
    Shape: [80]: mean of 20 coefficients, their standard deviation, mean of their deltas, standard deviation of
        the deltas; in decibels after an orthonormal DCT, deltas in the same a hop of 10 ms.
    Rate: one row a second of sound, `[k s, k + 1 s)` of the media's timeline; windows cut short by the ends of
        the sound are kept from 0.25 s. Digital silence has rows: they are real values.
    Licence of the weights: there are none.

    Reference:
        Davis & Mermelstein (1980), doi:10.1109/TASSP.1980.1163420.
    """

    spec = FeatureSpec(
        name="mfcc",
        version=1,
        modality="audio",
        inputs="audio",
        shape=(4 * N_MFCC,),
        rate="one a second",
        units="dB (orthonormal DCT-II of log mel power); deltas in dB a hop",
        source="librosa 0.11: feature.mfcc, feature.delta",
        parameters=(
            ("sample_rate_hz", str(SAMPLE_RATE_HZ)),
            ("n_mfcc", str(N_MFCC)),
            ("n_fft", str(N_FFT)),
            ("hop_length", str(HOP_LENGTH)),
            ("n_mels", str(N_MELS)),
            ("delta_width", str(DELTA_WIDTH)),
            ("window_us", str(WINDOW_US)),
            ("shortest_us", str(SHORTEST_US)),
            ("statistics", "mean, std of coefficients; mean, std of deltas"),
        ),
    )

    def load(self, device: str) -> MfccModel:
        """Make the mel filters; it computes on the CPU, whatever the device."""
        model = MfccModel()
        limit_threads()
        return model

    def prepare(self, rows: MediaRows) -> Iterator[SoundWindow]:
        """Windows of up to a second, a chunk of sound decoded at a time."""
        for window in sound_windows(rows, window_us=WINDOW_US):
            if window.end_us - window.start_us >= SHORTEST_US:
                yield window

    def __call__(self, model: MfccModel, items: Sequence[SoundWindow]) -> Sequence[Array]:
        """A vector of 80 a window."""
        return [model(item.samples) for item in items]

    def finish(self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[Array]) -> Sequence[FeatureRow]:
        """A row a window."""
        return feature_rows(items, outputs)

    def slim(self, item: SoundWindow) -> Span:
        """Its place on the timeline."""
        return span_of(item)
