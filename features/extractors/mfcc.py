"""`mfcc`: how the sound's spectrum is shaped, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.simple import RowAWindow
from features.extractors.spectra import (
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    SHORTEST_US,
    WINDOW_US,
    LogMel,
    for_each_length,
)
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

N_MFCC = 20
DELTA_WIDTH = 9


class MfccModel:
    """What librosa would make anew at each call: the mel filters, the DCT, and the filter of the deltas."""

    def __init__(self) -> None:
        from scipy.fft import dct

        self._log_mel = LogMel()
        self._dct = dct(np.eye(N_MELS, dtype=np.float32), axis=0, norm="ortho")[:N_MFCC]  # [N_MFCC, N_MELS]
        self._deltas: dict[int, Array] = {}

    def __call__(self, samples: Array) -> Array:
        """Statistics of windows of equal length.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [num_windows, num_samples], at least 1,280 samples a window.

        Returns:
            Float32, shape [num_windows, 80].
        """
        # Time comes last: NumPy sums float32 in pairs along the last axis only, and the first coefficient is large.
        mfcc = self._dct @ self._log_mel(samples).swapaxes(1, 2)  # [num_windows, N_MFCC, num_frames]
        delta = mfcc @ self._delta(mfcc.shape[2])
        statistics = [mfcc.mean(axis=2), mfcc.std(axis=2), delta.mean(axis=2), delta.std(axis=2)]
        return np.concatenate(statistics, axis=1)

    def _delta(self, num_frames: int) -> Array:
        """The linear map of `librosa.feature.delta`, its fits at the ends included: shape [num_frames, num_frames]."""
        if num_frames not in self._deltas:
            from librosa.feature import delta

            units = np.eye(num_frames)
            self._deltas[num_frames] = delta(units, width=DELTA_WIDTH).astype(np.float32)
        return self._deltas[num_frames]


class Mfcc(RowAWindow):
    """Mel-frequency cepstral coefficients and their change, summed up a second.

    Source: librosa 0.11, `feature.mfcc` and `feature.delta`, called for each window alone; ours takes windows of equal
        length together and gives the same to 1e-3. The clipping 80 dB below the maximum is each window's own.
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

    window_us = WINDOW_US
    shortest_us = SHORTEST_US

    def load(self, device: str) -> MfccModel:
        """Make the filters; it computes on the CPU, whatever the device."""
        model = MfccModel()
        limit_threads()
        return model

    def __call__(self, model: MfccModel, items: Sequence[SoundWindow]) -> Sequence[Array]:
        """A vector of 80 a window."""
        return for_each_length(items, model)
